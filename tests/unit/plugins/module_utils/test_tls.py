# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Failed handshakes in words, and whom we trust."""

from __future__ import annotations

import ssl

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _tls
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._tls import (
    Anchor,
    Tls,
    explain,
    make_tls,
    refused_by_nginx,
    trust_anchor,
)

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PLAIN = Tls(CONTEXT, Anchor("/etc/ssl/bundle.pem", "the system"), None)
WITH_CA = Tls(CONTEXT, Anchor("/home/joe/ca.pem", "ca_path"), None)
WITH_CERTIFICATE = Tls(CONTEXT, PLAIN.anchor, "/home/joe/me.pem")
HOST = "https://helix.test"


def unverified(code, message):
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def handshake(reason, kind=ssl.SSLError):
    error = kind(1, f"[SSL: {reason}] something (_ssl.c:1000)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("code", "reason", "tls", "words"),
    [
        (9, "certificate is not yet valid", PLAIN, ["not valid yet", "clock"]),
        (10, "certificate has expired", PLAIN, ["has expired", "Renew"]),
        (62, "Hostname mismatch, not valid for 'helix.test'.", PLAIN, ["another host name", "name in url"]),
        (64, "IP address mismatch", PLAIN, ["another host name"]),
        (18, "self-signed certificate", PLAIN, ["self-signed", "ca_path", "/etc/ssl/bundle.pem"]),
        (19, "self-signed certificate in certificate chain", PLAIN, ["not trusted here", "HELIX_CA_PATH"]),
        (20, "unable to get local issuer certificate", PLAIN, ["not trusted here", "HELIX_CA_PATH"]),
        (20, "unable to get local issuer certificate", WITH_CA, ["/home/joe/ca.pem", "not the one that signed"]),
        (21, "unable to verify the first certificate", PLAIN, ["not trusted here"]),
        (68, "CA signature digest algorithm too weak", PLAIN, ["was refused", "too weak"]),
        (0, "", PLAIN, ["was refused (the check failed)"]),
    ],
)
def test_certificates_that_are_not_accepted(code, reason, tls, words):
    error = explain(unverified(code, reason), HOST, tls)
    assert error is not None
    assert (error.kind, error.maybe_done, error.transient) == ("tls", False, False)
    for word in [HOST, *words]:
        assert word in error.sentence()
    assert "None" not in error.sentence()
    assert "_ssl.c" not in error.sentence()


@pytest.mark.parametrize(
    ("reason", "tls", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", PLAIN, ["demands a client certificate", "Give client_cert"]),
        ("SSLV3_ALERT_BAD_CERTIFICATE", WITH_CERTIFICATE, ["does not accept the client certificate /home/joe/me.pem"]),
        ("TLSV1_ALERT_UNKNOWN_CA", WITH_CERTIFICATE, ["does not accept", "issuer"]),
        ("WRONG_VERSION_NUMBER", PLAIN, ["does not speak TLS on this port", "allow_http"]),
        ("HTTP_REQUEST", PLAIN, ["does not speak TLS"]),
        ("RECORD_LAYER_FAILURE", PLAIN, ["does not speak TLS"]),
        ("TLSV1_ALERT_PROTOCOL_VERSION", PLAIN, ["handshake", "tlsv1 alert protocol version"]),
        ("", PLAIN, ["handshake", "no reason given"]),
    ],
)
def test_handshakes_that_fail(reason, tls, words):
    error = explain(handshake(reason), HOST, tls)
    assert error is not None
    assert error.kind == "tls"
    assert error.maybe_done, "with TLS 1.3 a handshake may fail after a request was read"
    for word in [HOST, *words]:
        assert word in error.sentence()


@pytest.mark.parametrize(
    "error",
    [
        OSError("anything"),
        ConnectionResetError(),
        handshake("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError),
        handshake("UNEXPECTED_EOF_WHILE_READING"),
        handshake("", ssl.SSLZeroReturnError),
        handshake("", ssl.SSLSyscallError),
    ],
)
def test_what_is_no_matter_of_tls(error):
    assert explain(error, HOST, PLAIN) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<h1>400 Bad Request</h1> No required SSL certificate was sent", "demands a client certificate"),
        ("The SSL certificate error", "demands a client certificate"),
        ("The plain HTTP request was sent to HTTPS port", "speaks only TLS"),
    ],
)
def test_what_nginx_says_in_a_page(text, words):
    error = refused_by_nginx(text, HOST, PLAIN)
    assert words in error.message
    assert error.kind == "tls"
    assert not error.maybe_done


def test_other_pages_are_not_about_tls():
    assert refused_by_nginx("ETL not found", HOST, PLAIN) is None


# -- trust ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate", encoding="utf-8")
    return path


def test_ca_path_wins_over_the_environment(bundle):
    assert trust_anchor(str(bundle), {"REQUESTS_CA_BUNDLE": "/etc/other.pem"}) == (str(bundle), "ca_path")


def test_the_environment_wins_over_the_system(bundle):
    assert trust_anchor(None, {"SSL_CERT_FILE": str(bundle)}) == (str(bundle), "SSL_CERT_FILE")
    assert trust_anchor("", {"REQUESTS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": "/x"}).source == "REQUESTS_CA_BUNDLE"
    assert trust_anchor(None, {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": str(bundle)}).source == "SSL_CERT_FILE"


def test_a_variable_that_names_nothing_is_passed_over(tmp_path):
    anchor = trust_anchor(None, {"REQUESTS_CA_BUNDLE": str(tmp_path / "gone.pem")})
    assert anchor.source in ("the system", "certifi")


def test_certifi_is_the_last(monkeypatch):
    pytest.importorskip("certifi")
    monkeypatch.setattr(_tls, "_SYSTEM_BUNDLES", ())
    monkeypatch.setattr(_tls.ssl, "get_default_verify_paths", type("Paths", (), {"cafile": None}))
    assert trust_anchor(None, {}).source == "certifi"


def test_files_that_do_not_exist_or_hold_nothing(bundle, tmp_path):
    gone = str(tmp_path / "gone.pem")
    for options, words in (
        ((True, gone, None, None), "(option ca_path) does not exist"),
        ((True, str(bundle), None, None), "holds no PEM certificate"),
        ((True, str(tmp_path), None, None), "holds no file that OpenSSL would look for"),
        ((False, None, gone, None), "(option client_cert) does not exist"),
        ((False, None, str(bundle), gone), "(option client_key) does not exist"),
        ((False, None, str(bundle), None), "is not in PEM form"),
    ):
        with pytest.raises(OptionError) as caught:
            make_tls(*options, {})
        assert words in caught.value.message
        assert caught.value.remedy


def test_verification_can_be_turned_off_and_is_on_otherwise():
    off = make_tls(False, None, None, None, {})
    assert (off.context.verify_mode, off.context.check_hostname, off.anchor) == (ssl.CERT_NONE, False, None)
    on = make_tls(True, None, None, None, {})
    assert (on.context.verify_mode, on.context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert on.context.minimum_version >= ssl.TLSVersion.TLSv1_2
