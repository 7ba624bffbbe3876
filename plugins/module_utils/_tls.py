# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS: whom we trust, which certificate we show, and what a failed handshake means.

Private to this collection.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError, TransportError

#: Where Linux distributions and BSDs keep the bundle that the administrator maintains.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_TRUST_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
# Codes of OpenSSL.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_WRONG_NAME = (62, 64)
_UNKNOWN_ISSUER = (2, 19, 20, 21)
#: A certificate that was trusted by hand is trusted, also if it is not the root of its chain, as curl does it.
_PARTIAL_CHAIN = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)


class Anchor(NamedTuple):
    """The CA file or folder to trust, and who named it: C(ca_path), a variable, C(the system) or C(certifi)."""

    path: str
    source: str


class Tls(NamedTuple):
    """What the connections of a run use, and what messages say about it."""

    context: ssl.SSLContext
    #: None: nothing is checked.
    anchor: Anchor | None
    client_cert: str | None


def trust_anchor(ca_path: str | None, environ: Mapping[str, str]) -> Anchor:
    """C(ca_path), else the file that the environment names, else the system's, else the one of certifi.

    :raises OptionError: C(ca_path) does not exist or cannot be read.
    """
    if ca_path:
        _check_readable("CA file", "ca_path", ca_path)
        return Anchor(ca_path, "ca_path")
    candidates = [(environ.get(name, ""), name) for name in _TRUST_VARIABLES]
    candidates += [(path, "the system") for path in (ssl.get_default_verify_paths().cafile, *_SYSTEM_BUNDLES) if path]
    for path, source in candidates:
        if path and os.access(path, os.R_OK):
            return Anchor(path, source)
    import certifi  # a dependency of requests

    return Anchor(certifi.where(), "certifi")


def _check_readable(what: str, option: str, path: str) -> None:
    if not os.access(path, os.R_OK):
        problem = "cannot be read by the user that the task runs as" if Path(path).exists() else "does not exist"
        raise OptionError(
            f"The {what} {path} (option {option}) {problem}.",
            remedy="Give the path of a PEM file on the host that the task runs on.",
        )


def make_tls(
    validate_certs: bool,
    ca_path: str | None,
    client_cert: str | None,
    client_key: str | None,
    environ: Mapping[str, str],
) -> Tls:
    """One context for all connections of a run: loading a system bundle for each connection is what makes TLS slow.

    C(ssl.create_default_context) is not used: from Python 3.13 on it is strict about details that many private CAs
    of on-premises installations lack.

    :raises OptionError: a file does not exist, or is no PEM certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    anchor = None
    if validate_certs:
        anchor = trust_anchor(ca_path, environ)
        context.verify_flags |= _PARTIAL_CHAIN
        _load_authorities(context, anchor)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        _load_client_certificate(context, client_cert, client_key)
    return Tls(context, anchor, client_cert)


def _load_authorities(context: ssl.SSLContext, anchor: Anchor) -> None:
    named = f"{anchor.path} ({'option ca_path' if anchor.source == 'ca_path' else 'from ' + anchor.source})"
    if Path(anchor.path).is_dir():
        if not any(re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", file.name) for file in Path(anchor.path).iterdir()):
            raise OptionError(
                f"The CA folder {named} holds no file that OpenSSL would look for.",
                remedy=f"Run 'openssl rehash {anchor.path}', or give ca_path a PEM file.",
            )
        context.load_verify_locations(capath=anchor.path)
        return
    try:
        context.load_verify_locations(cafile=anchor.path)
    except (OSError, ValueError):
        raise OptionError(
            f"The CA file {named} holds no PEM certificate that can be read.",
            remedy="Give ca_path a PEM file that begins with -----BEGIN CERTIFICATE-----.",
        ) from None


def _load_client_certificate(context: ssl.SSLContext, client_cert: str, client_key: str | None) -> None:
    _check_readable("client certificate", "client_cert", client_cert)
    if client_key:
        _check_readable("client key", "client_key", client_key)
    encrypted = False

    def password() -> str:
        # Without this OpenSSL would ask on the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(client_cert, client_key or None, password=password)
    except (OSError, ValueError) as error:
        key = client_key or client_cert
        if encrypted:
            message = f"The key of the client certificate ({key}) is encrypted with a passphrase."
            remedy = f"Give client_key a copy without one: openssl pkey -in {key} -out plain.key"
        elif "MISMATCH" in str(getattr(error, "reason", "")):
            message = f"The client certificate {client_cert} and the key {key} do not belong together."
            remedy = "Give client_key the key that the certificate was issued for."
        else:
            message = f"The client certificate {client_cert} or its key ({key}) is not in PEM form, or one is missing."
            remedy = "client_cert is a PEM certificate; client_key is its PEM key, unless client_cert holds it too."
        raise OptionError(message, remedy=remedy) from None


def explain(error: BaseException, host: str, tls: Tls) -> TransportError | None:
    """A failed TLS handshake in one sentence with its remedy, or None where C(error) is about something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error, host, tls.anchor)
    if type(error).__name__ == "CertificateError":  # of urllib3 1.26
        return _wrong_name(host, "")
    # Also a connection cut in the middle is an SSLError; the caller knows better words for it.
    if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return None
    reason = str(error.reason or "").replace("_", " ").lower()
    if "eof" in reason or isinstance(error, (ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return None
    # From here on it is not known whether a request had been read before: a handshake of TLS 1.3 may fail after it.
    if "alert" in reason and ("certificate" in reason or "unknown ca" in reason):
        return _client_certificate_refused(host, tls, f" ({reason})")
    if "wrong version number" in reason or "http request" in reason or "record layer" in reason:
        return TransportError(
            f"{host} does not speak TLS on this port.",
            kind="tls",
            remedy="Check the port in url; plain http needs http:// and allow_http: true.",
            maybe_done=True,
        )
    return TransportError(
        f"The TLS handshake with {host} failed ({reason or 'no reason given'}).",
        kind="tls",
        remedy="Check host and port in url, that both sides share a TLS version, and whether the server demands a"
        " client certificate (client_cert, client_key).",
        maybe_done=True,
    )


def refused_by_nginx(text: str, host: str, tls: Tls) -> TransportError | None:
    """nginx says in a page with status 400 what other servers say in the handshake; nothing was done."""
    if "SSL certificate was sent" in text or "SSL certificate error" in text:
        refusal = _client_certificate_refused(host, tls, "")
        refusal.maybe_done = False
        return refusal
    if "plain HTTP request was sent to HTTPS port" in text:
        return TransportError(
            f"{host} speaks only TLS on this port.",
            kind="tls",
            remedy="Give url the address that begins with https://.",
        )
    return None


def _client_certificate_refused(host: str, tls: Tls, detail: str) -> TransportError:
    if tls.client_cert:
        message = f"{host} does not accept the client certificate {tls.client_cert}{detail}."
        remedy = "Give client_cert and client_key a certificate that is valid and whose issuer the server trusts."
    else:
        message = f"{host} demands a client certificate{detail}."
        remedy = "Give client_cert and client_key."
    return TransportError(message, kind="tls", remedy=remedy, maybe_done=True)


def _bad_certificate(error: ssl.SSLCertVerificationError, host: str, anchor: Anchor | None) -> TransportError:
    code = getattr(error, "verify_code", 0)
    reason = str(getattr(error, "verify_message", "") or "").rstrip(".") or "the check failed"
    if code in _WRONG_NAME or "mismatch" in reason.lower():
        return _wrong_name(host, f" ({reason})")
    if code == _EXPIRED:
        message = f"The TLS certificate of {host} has expired."
        remedy = "Renew the certificate of the server; check the clock of this machine too."
    elif code == _NOT_YET_VALID:
        message = f"The TLS certificate of {host} is not valid yet."
        remedy = "Check the clock of this machine and that of the server."
    elif code == _SELF_SIGNED:
        message = f"The TLS certificate of {host} is self-signed and not trusted here."
        remedy = f"Give ca_path (or HELIX_CA_PATH) that certificate as a PEM file. {_trusted(anchor)}"
    elif code in _UNKNOWN_ISSUER:
        message = f"The TLS certificate of {host} is signed by an authority that is not trusted here ({reason})."
        remedy = f"Give ca_path (or HELIX_CA_PATH) the PEM file of your organisation's CA. {_trusted(anchor)}"
    else:
        message = f"The TLS certificate of {host} was refused ({reason})."
        remedy = "Have the certificate of the server mended, or give ca_path the right CA."
    return TransportError(message, kind="tls", remedy=remedy.strip())


def _wrong_name(host: str, detail: str) -> TransportError:
    return TransportError(
        f"The TLS certificate of {host} is for another host name{detail}.",
        kind="tls",
        remedy="Use the name in url for which the certificate was issued.",
    )


def _trusted(anchor: Anchor | None) -> str:
    if anchor is None:
        return ""
    if anchor.source == "ca_path":
        return f"The CA file {anchor.path} (option ca_path) is not the one that signed it."
    return f"Trusted was {anchor.path} (from {anchor.source})."
