# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Authorities and certificates, good and bad ones."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Optional

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = ("localhost", "127.0.0.1")
_DAY = timedelta(days=1)


class Certificates:
    """Everything that the tests of TLS need, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(timezone.utc)
        self.authority = trustme.CA(organization_name="Tests of Helix")
        self.foreign = trustme.CA(organization_name="Somebody else")
        self.ca = self._write("ca.pem", self.authority.cert_pem.bytes())
        self.wrong_ca = self._write("wrong-ca.pem", self.foreign.cert_pem.bytes())

    def server(self, *names: str, begin: Optional[datetime] = None, end: Optional[datetime] = None) -> Path:
        """Key and chain of a server in one file."""
        leaf = self.authority.issue_cert(
            *(names or HERE), not_before=begin or self.now - _DAY, not_after=end or self.now + _DAY
        )
        return self._write(
            f"server-{len(list(self.folder.iterdir()))}.pem", leaf.private_key_and_cert_chain_pem.bytes()
        )

    def expired(self) -> Path:
        return self.server(begin=self.now - 3 * _DAY, end=self.now - _DAY)

    def not_yet_valid(self) -> Path:
        return self.server(begin=self.now + _DAY, end=self.now + 3 * _DAY)

    def wrong_host(self) -> Path:
        return self.server("somewhere-else.invalid")

    def self_signed(self) -> tuple[Path, Path]:
        """Key and certificate for the server, and the certificate alone."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - _DAY)
            .not_valid_after(self.now + _DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )
        return self._write("self.pem", _pem(key) + certificate), self._write("self-cert.pem", certificate)

    def client(self, foreign: bool = False) -> tuple[Path, Path]:
        """Certificate and key of a client."""
        leaf = (self.foreign if foreign else self.authority).issue_cert("client@tests.invalid")
        name = "foreign" if foreign else "client"
        return (
            self._write(f"{name}.crt", b"".join(blob.bytes() for blob in leaf.cert_chain_pems)),
            self._write(f"{name}.key", leaf.private_key_pem.bytes()),
        )

    def encrypted(self, key: Path) -> Path:
        """The same key, under a passphrase."""
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        return self._write("encrypted.key", _pem(loaded, b"passphrase"))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


def _pem(key: object, passphrase: Optional[bytes] = None) -> bytes:
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def server_context(
    pem: Path, client_ca: Optional[Path] = None, newest: Optional[ssl.TLSVersion] = None
) -> ssl.SSLContext:
    """The server's side; with `client_ca` it demands a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if newest:
        context.maximum_version = newest
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context
