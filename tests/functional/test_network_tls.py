# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS against a real handshake: failures in the words of OpenSSL, and the documented order of CA bundles."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _http
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    HelixError,
    OptionError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Answer, Clock, Transport
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor

from tests.functional.network.certificates import Certificates, server_context
from tests.functional.network.servers import RawServer, answer

FINE = answer(b"[]")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def good_server(certificates: Certificates) -> Iterator[RawServer]:
    with RawServer(FINE, tls=server_context(certificates.server())) as server:
        yield server


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


def get(url: str, **options: Any) -> Answer:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    transport = Transport(clock=Clock(), redactor=Redactor(), request_timeout=5, retries=0, **options)
    try:
        return transport.once("GET", f"{url}/opt/api/v1/backend/etls/", {"Authorization": "Bearer x"})
    finally:
        transport.close()


def failure(url: str, **options: Any) -> HelixError:
    with pytest.raises(HelixError) as caught:
        get(url, **options)
    assert caught.value.remedy
    return caught.value


def at_localhost(server: RawServer) -> str:
    return server.url.replace("127.0.0.1", "localhost")


def test_private_authority(good_server: RawServer, certificates: Certificates) -> None:
    assert get(good_server.url, ca_path=certificates.ca).json() == []


def test_one_connection_serves_all_requests(certificates: Certificates) -> None:
    with RawServer(FINE, tls=server_context(certificates.server())) as server:
        transport = Transport(clock=Clock(), redactor=Redactor(), ca_path=str(certificates.ca))
        for _number in range(5):
            assert transport.once("GET", f"{server.url}/x", {}).status == 200
        transport.close()
        assert (len(server.requests), server.connections) == (5, 1)


def test_authority_of_another_organisation(good_server: RawServer, certificates: Certificates) -> None:
    error = failure(good_server.url, ca_path=certificates.wrong_ca)
    assert error.kind == "tls"
    assert "the TLS certificate was rejected" in error.message
    assert f"CA bundle used: {certificates.wrong_ca} (from ca_path)." in error.remedy
    assert (error.maybe_done, error.transient) == (False, False)


def test_authority_unknown_to_the_system(good_server: RawServer) -> None:
    error = failure(good_server.url)
    assert "the TLS certificate was rejected: " in error.message
    for word in ("ca_path", "helix_ca_path", "HELIX_CA_PATH", "CA bundle used: "):
        assert word in error.remedy


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_host", "mismatch"),
    ],
)
def test_bad_certificate(certificates: Certificates, kind: str, sentence: str) -> None:
    """In the words of OpenSSL."""
    make: Callable[[], Path] = getattr(certificates, kind)
    with RawServer(FINE, tls=server_context(make())) as server:
        error = failure(server.url, ca_path=certificates.ca)
        assert error.kind == "tls"
        assert server.url in error.message
        assert "the TLS certificate was rejected: " in error.message
        assert sentence in error.message
        assert (error.maybe_done, error.transient) == (False, False)
        assert server.requests == [], "a request was sent to a server that was not trusted"
        assert get(server.url, validate_certs=False).json() == []


def test_self_signed(certificates: Certificates) -> None:
    pem, alone = certificates.self_signed()
    with RawServer(FINE, tls=server_context(pem)) as server:
        error = failure(at_localhost(server), ca_path=certificates.ca)
        assert "self-signed certificate" in error.message.replace("self signed", "self-signed")
        assert get(at_localhost(server), ca_path=alone).json() == []


def test_intermediate_authority_alone_is_trusted(certificates: Certificates, tmp_path: Path) -> None:
    """As with curl: administrators hand out the CA that issues, not always the root above it."""
    issuing = certificates.authority.create_child_ca()
    leaf = issuing.issue_cert("127.0.0.1")
    pem, ca = tmp_path / "server.pem", tmp_path / "issuing.pem"
    pem.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    ca.write_bytes(issuing.cert_pem.bytes())
    with RawServer(FINE, tls=server_context(pem)) as server:
        assert get(server.url, ca_path=ca).json() == []


def test_tls_on_a_plain_port() -> None:
    with RawServer(FINE) as server:
        error = failure(server.url.replace("http:", "https:"), validate_certs=False)
    assert "the TLS handshake failed" in error.message
    assert "Check the scheme, host, and port in url" in error.remedy


def test_plain_http_on_a_tls_port(good_server: RawServer) -> None:
    error = failure(good_server.url.replace("https:", "http:"))
    assert error.kind in ("connection", "unexpected_answer", "tls")
    assert "127.0.0.1" in error.message


def test_version_of_tls_that_nobody_should_speak(certificates: Certificates) -> None:
    context = server_context(certificates.server())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    with RawServer(FINE, tls=context) as server:
        transport = Transport(clock=Clock(), redactor=Redactor(), ca_path=str(certificates.ca), request_timeout=5)
        transport.context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(TransportError) as caught:
            transport.once("GET", server.url, {})
    assert "the TLS handshake failed" in caught.value.message
    assert server.url in caught.value.message


# --- client certificates


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_client_certificate(certificates: Certificates, version: ssl.TLSVersion) -> None:
    certificate, key = certificates.client()
    wrong, wrong_key = certificates.client(foreign=True)
    context = server_context(certificates.server(), certificates.ca, version)
    with RawServer(FINE, tls=context) as server:
        given = {"ca_path": certificates.ca}
        assert get(server.url, **given, client_cert=certificate, client_key=key).json() == []
        missing = failure(server.url, **given)
        refused = failure(server.url, **given, client_cert=wrong, client_key=wrong_key)
    # A server may also drop the connection before its reason arrives; then only the remedy can name the cause.
    assert "client certificate" in missing.sentence(), missing.sentence()
    assert "client_cert" in missing.remedy
    assert "client certificate" in refused.sentence(), refused.sentence()


def test_key_and_certificate_in_one_file(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = certificates.client()
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    context = server_context(certificates.server(), certificates.ca)
    with RawServer(FINE, tls=context) as server:
        assert get(server.url, ca_path=certificates.ca, client_cert=both).json() == []


def test_unusable_files(certificates: Certificates, tmp_path: Path) -> None:
    """Each is found before anything is sent, and the message names the file."""
    certificate, key = certificates.client()
    _other, other_key = certificates.client(foreign=True)
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("this is not it\n", encoding="utf-8")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ca_path": tmp_path / "none.pem"}, "named by the option ca_path, does not exist"),
        ({"ca_path": no_pem}, "CA bundle"),
        ({"ca_path": key}, "CA bundle"),
        ({"client_cert": tmp_path / "none.crt"}, "named by the option client_cert, does not exist"),
        ({"client_cert": certificate, "client_key": tmp_path / "x"}, "named by the option client_key, does not exist"),
        ({"client_cert": no_pem, "client_key": key}, "client certificate"),
        ({"client_cert": certificate}, "client certificate"),
        ({"client_cert": certificate, "client_key": other_key}, "mismatch"),
        ({"client_cert": certificate, "client_key": certificates.encrypted(key)}, "client certificate"),
    ]
    for options, message in cases:
        with pytest.raises(OptionError) as caught:
            get("https://127.0.0.1:9", **options)
        assert message in caught.value.message
        assert "PEM file" in caught.value.remedy
        assert any(str(path) in caught.value.message for path in options.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_file_of_somebody_else(certificates: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    locked.write_bytes(certificates.ca.read_bytes())
    locked.chmod(0)
    assert "is not readable for the user that runs the task" in failure("https://127.0.0.1:9", ca_path=locked).message


# --- whom we trust


def test_trust_order(good_server: RawServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = str(certificates.ca), str(certificates.wrong_ca)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", wrong)
    monkeypatch.setenv("CURL_CA_BUNDLE", wrong)
    monkeypatch.setenv("SSL_CERT_FILE", wrong)
    assert get(good_server.url, ca_path=right).status == 200, "ca_path must win over the environment"
    assert get(good_server.url, validate_certs=False).status == 200, "validate_certs: false must win too"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", right)
    assert get(good_server.url).status == 200, "REQUESTS_CA_BUNDLE comes before SSL_CERT_FILE"
    assert "rejected" in failure(good_server.url, ca_path=wrong).message, "a wrong ca_path is not made good"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    assert "rejected" in failure(good_server.url).message, "an empty variable is none: SSL_CERT_FILE counts"
    monkeypatch.setenv("SSL_CERT_FILE", right)
    assert get(good_server.url).status == 200
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", wrong)
    assert f"CA bundle used: {wrong} (from REQUESTS_CA_BUNDLE)." in failure(good_server.url).remedy


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_variable_that_names_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    """Silence would mean that another CA is used than the administrator believes."""
    gone = tmp_path / "gone.pem"
    monkeypatch.setenv(variable, str(gone))
    error = failure("https://127.0.0.1:9")
    assert error.kind == "invalid_option"
    assert f"The file {gone}, named by the variable {variable}, does not exist." in error.message


def test_system_bundle_is_used_and_certifi_is_the_last_resort(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = ssl.DefaultVerifyPaths(*[None] * 6)  # type: ignore[arg-type]
    monkeypatch.setattr(_http.ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(_http, "_SYSTEM_BUNDLES", (str(tmp_path / "none"), str(certificates.ca)))
    assert _http.find_trust(True, None, {}) == (str(certificates.ca), "the system")
    monkeypatch.setattr(_http, "_SYSTEM_BUNDLES", ())
    trust = _http.find_trust(True, None, {})
    assert trust.source == "certifi"
    assert Path(trust.path).exists()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl command")
def test_folder_of_authorities(good_server: RawServer, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "ours.pem").write_bytes(certificates.ca.read_bytes())
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, capture_output=True)
    assert get(good_server.url, ca_path=tmp_path).status == 200
