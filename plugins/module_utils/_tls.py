# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS: whom we trust, which certificate we show, and what a failed handshake means.

Private to this collection.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

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
_EXPIRED = 10
_WRONG_NAME = (62, 64)
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)


def trust_anchor(ca_path: str | None, environ: Mapping[str, str]) -> str | None:
    """The CA file or folder to trust: C(ca_path), else the environment's, else the system's, else None (certifi).

    :raises OptionError: C(ca_path) does not exist or cannot be read.
    """
    if ca_path:
        if not os.access(ca_path, os.R_OK):
            raise OptionError(
                f"The CA file {ca_path} (option ca_path) does not exist or cannot be read.",
                remedy="Give the path of a PEM file on the host that the task runs on.",
            )
        return ca_path
    candidates = [environ.get(name, "") for name in _TRUST_VARIABLES]
    candidates.append(ssl.get_default_verify_paths().cafile or "")
    candidates.extend(_SYSTEM_BUNDLES)
    return next((path for path in candidates if path and os.access(path, os.R_OK)), None)


def make_context(
    validate_certs: bool,
    ca_path: str | None,
    client_cert: str | None,
    client_key: str | None,
    environ: Mapping[str, str],
) -> ssl.SSLContext:
    """One context for all connections of a run: loading a system bundle for each connection is what makes TLS slow.

    C(ssl.create_default_context) is not used: from Python 3.13 on it is strict about details that many private CAs
    of on-premises installations lack.

    :raises OptionError: a file does not exist, or is no PEM certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        anchor = trust_anchor(ca_path, environ)
        if anchor is None:
            import certifi  # a dependency of requests

            anchor = certifi.where()
        try:
            if Path(anchor).is_dir():
                context.load_verify_locations(capath=anchor)
            else:
                context.load_verify_locations(cafile=anchor)
        except (OSError, ValueError):
            raise OptionError(
                f"The CA file {anchor} holds no PEM certificate that can be read.",
                remedy="Give ca_path a PEM file that begins with -----BEGIN CERTIFICATE-----.",
            ) from None
    if client_cert:
        _load_client_certificate(context, client_cert, client_key)
    return context


def _load_client_certificate(context: ssl.SSLContext, client_cert: str, client_key: str | None) -> None:
    for option, path in (("client_cert", client_cert), ("client_key", client_key)):
        if path and not os.access(path, os.R_OK):
            raise OptionError(
                f"The file {path} (option {option}) does not exist or cannot be read.",
                remedy="Give the path of a PEM file on the host that the task runs on.",
            )
    try:
        # An encrypted key would make OpenSSL ask on the terminal: an empty password makes it fail instead.
        context.load_cert_chain(client_cert, client_key or None, password="")
    except (OSError, ValueError):
        raise OptionError(
            f"The client certificate {client_cert} and its key cannot be used together.",
            remedy="client_cert and client_key must be PEM files that belong together; the key must not be encrypted.",
        ) from None


def explain(error: BaseException, host: str, ca_path: str | None) -> TransportError | None:
    """A failed TLS handshake in one sentence with its remedy, or None where C(error) is about something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        reason = str(getattr(error, "verify_message", "") or "").rstrip(".") or "the check failed"
        if code == _EXPIRED:
            message = f"The TLS certificate of {host} has expired."
            remedy = "Renew the certificate of the server; check the clock of this machine too."
        elif code in _WRONG_NAME or "mismatch" in reason.lower():
            message = f"The TLS certificate of {host} is for another host name ({reason})."
            remedy = "Use the name in url for which the certificate was issued."
        elif code in _UNKNOWN_ISSUER:
            message = f"The TLS certificate of {host} is signed by an authority that is not trusted here ({reason})."
            remedy = (
                f"The CA file {ca_path} is not the one that signed it: give ca_path the right PEM file."
                if ca_path
                else "Give ca_path (or HELIX_CA_PATH) the PEM file of your organisation's CA."
            )
        else:
            message = f"The TLS certificate of {host} was refused ({reason})."
            remedy = "Have the certificate of the server mended, or give ca_path the right CA."
        return TransportError(message, kind="tls", remedy=remedy)
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or "").replace("_", " ").lower()
        if "certificate required" in reason or "bad certificate" in reason or "unknown ca" in reason:
            return TransportError(
                f"{host} demands a client certificate, or does not accept the one it got ({reason}).",
                kind="tls",
                remedy="Give client_cert and client_key a certificate that the server accepts.",
            )
        if "wrong version number" in reason or "http request" in reason or "record layer" in reason:
            return TransportError(
                f"{host} does not speak TLS on this port.",
                kind="tls",
                remedy="Check the port in url; plain http needs http:// and allow_http: true.",
            )
        if "eof" in reason:
            # A connection cut in the middle, not a disagreement about TLS: the caller knows better words.
            return None
        return TransportError(
            f"The TLS handshake with {host} failed ({reason or 'no reason given'}).",
            kind="tls",
            remedy="Check that url names the right host and port, and that both sides share a TLS version.",
            # Not known whether this came before or after a request was read.
            maybe_done=True,
        )
    return None
