# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real TLS handshakes: failures in the words of OpenSSL, client certificates, CA bundles in order, and a tunnel.

test_network_libraries.py repeats this file with older libraries.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _http
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, OptionError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock, Transport
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import RawServer, reply
from cryptography.hazmat.primitives import serialization

from tests.functional.network.certificates import Certificates, server_context

FINE = reply(b"[]")
#: Nothing listens here; these requests fail before they are sent.
NOWHERE = "https://127.0.0.1:9"


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
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def get(url: str, times: int = 1, **options: Any) -> bool:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    transport = Transport(clock=Clock(), redactor=Redactor(), request_timeout=5, retries=0, **options)
    try:
        return all(transport.once("GET", f"{url}/x", {}).json() == [] for _number in range(times))
    finally:
        transport.close()


def failure(url: str, **options: Any) -> HelixError:
    with pytest.raises(HelixError) as caught:
        get(url, **options)
    assert caught.value.remedy
    return caught.value


# --- the certificate of the server


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "certificate has expired"),
        ("not_yet_valid", "certificate is not yet valid"),
        ("wrong_host", "mismatch"),
        ("self_signed", "self"),
    ],
)
def test_bad_certificate(certificates: Certificates, kind: str, words: str) -> None:
    with RawServer(FINE, tls=server_context(certificates.server(kind))) as server:
        error = failure(server.url, ca_path=certificates.ca)
        assert server.requests == [], "a request was sent to a server that was not trusted"
        assert get(server.url, validate_certs=False)
    assert f"{server.url} failed: the TLS certificate was rejected: " in error.message
    assert words in error.message
    assert (error.kind, error.maybe_done, error.transient) == ("tls", False, False)


def test_authorities(certificates: Certificates, tmp_path: Path) -> None:
    """As in curl, the one that issues is enough: administrators do not always have the root above it."""
    issuing = certificates.authority.create_child_ca()
    pem = certificates.write("issued.pem", issuing.issue_cert("127.0.0.1").private_key_and_cert_chain_pem)
    with RawServer(FINE, tls=server_context(pem)) as server:
        assert get(server.url, ca_path=certificates.write("issuing.pem", issuing.cert_pem))
        assert get(server.url, ca_path=certificates.ca, times=3)
        assert server.connections == 2, "one for the first, and one for all others"
        error = failure(server.url, ca_path=certificates.wrong_ca)
        assert f"CA bundle used: {certificates.wrong_ca} (from ca_path)." in error.remedy
        assert "helix_ca_path, HELIX_CA_PATH" in failure(server.url).remedy
        if shutil.which("openssl"):
            shutil.copy(certificates.ca, tmp_path)
            subprocess.run(["openssl", "rehash", str(tmp_path)], check=True, capture_output=True)
            assert get(server.url, ca_path=tmp_path), "a folder"


def test_trust_order(good_server: RawServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = str(certificates.ca), str(certificates.wrong_ca)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, wrong)
    assert get(good_server.url, ca_path=right), "ca_path must win over the environment"
    assert get(good_server.url, validate_certs=False), "validate_certs: false must win, too"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", right)
    assert get(good_server.url), "REQUESTS_CA_BUNDLE comes before SSL_CERT_FILE"
    assert "rejected" in failure(good_server.url, ca_path=wrong).message, "a wrong ca_path is not made good"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    assert f"CA bundle used: {wrong} (from SSL_CERT_FILE)." in failure(good_server.url).remedy, "empty means not set"


def test_system_bundle_and_certifi_as_the_last_resort(
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


# --- client certificates, files, and proxies


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_client_certificate(certificates: Certificates, version: ssl.TLSVersion, tmp_path: Path) -> None:
    (certificate, key), (wrong, wrong_key) = certificates.client(), certificates.client(foreign=True)
    both = tmp_path / "both.pem"
    both.write_text(Path(key).read_text() + Path(certificate).read_text())
    context = server_context(certificates.server(), certificates.ca, maximum_version=version)
    with RawServer(FINE, tls=context) as server:
        given = {"ca_path": certificates.ca}
        assert get(server.url, **given, client_cert=certificate, client_key=key)
        assert get(server.url, **given, client_cert=both)
        missing = failure(server.url, **given)
        refused = failure(server.url, **given, client_cert=wrong, client_key=wrong_key)
    # A server can also close the connection before its reason arrives; then, only the remedy can name the cause.
    assert "client_cert" in missing.remedy
    assert "client certificate" in refused.sentence()


def test_unusable_files(certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is found before anything is sent, and the message names the file."""
    (certificate, key), (_other, other_key) = certificates.client(), certificates.client(foreign=True)
    gone, no_pem, encrypted = tmp_path / "gone.pem", tmp_path / "no.pem", tmp_path / "encrypted.key"
    no_pem.write_text("this is not it\n", encoding="utf-8")
    protection = serialization.BestAvailableEncryption(b"passphrase")
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    encrypted.write_bytes(serialization.load_pem_private_key(Path(key).read_bytes(), None).private_bytes(*pkcs8))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ca_path": gone}, "named by the option ca_path, does not exist"),
        ({"ca_path": no_pem}, "CA bundle"),
        ({"client_cert": gone}, "named by the option client_cert, does not exist"),
        ({"client_cert": certificate, "client_key": gone}, "named by the option client_key, does not exist"),
        ({"client_cert": certificate}, "client certificate"),
        ({"client_cert": certificate, "client_key": other_key}, "mismatch"),
        ({"client_cert": certificate, "client_key": encrypted}, "client certificate"),
    ]
    for options, message in cases:
        error = failure(NOWHERE, **options)
        assert isinstance(error, OptionError)
        assert message in error.message
        assert any(str(path) in error.message for path in options.values())
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        # Without a failure, another CA would be used than the administrator believes.
        monkeypatch.setenv(variable, str(gone))
        assert f"The file {gone}, named by the variable {variable}, does not exist." in failure(NOWHERE).message
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is not readable for the user that runs the task" in failure(NOWHERE, ca_path=no_pem).message


def test_tunnel_through_a_proxy(good_server: RawServer, certificates: Certificates) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def tunnel(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", good_server.port)) as server:
            threading.Thread(target=copy, args=(server, connection), daemon=True).start()
            copy(connection, server)

    with RawServer(tunnel) as proxy:
        address = f"http://joe:p%40ss%3A%2F@127.0.0.1:{proxy.port}"
        assert get(good_server.url, times=3, ca_path=certificates.ca, proxy=address)
        assert len(proxy.requests) == 1, "one tunnel is enough"
        error = failure(good_server.url, ca_path=certificates.wrong_ca, proxy=address)
    assert (error.kind, "the TLS certificate was rejected" in error.message) == ("tls", True)
    assert proxy.requests[0].startswith(f"CONNECT 127.0.0.1:{good_server.port} ".encode())
    assert b"Basic " + base64.b64encode(b"joe:p@ss:/") in proxy.requests[0]


def test_tls_on_a_plain_port() -> None:
    with RawServer(FINE) as server:
        error = failure(server.url.replace("http:", "https:"), validate_certs=False)
    assert (error.kind, error.maybe_done) == ("tls", True)
    assert "the TLS handshake failed" in error.message
    assert "Check the scheme, host, and port in url" in error.remedy
