# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Authorities and certificates, good and bad ones."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Optional

import trustme

HERE = ("localhost", "127.0.0.1")


class Certificates:
    """PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._foreign = trustme.CA(organization_name="Somebody else")
        self.authority = trustme.CA(organization_name="Tests of Helix")
        self.ca = self.write("ca.pem", self.authority.cert_pem)
        self.wrong_ca = self.write("wrong-ca.pem", self._foreign.cert_pem)

    def server(self, kind: str = "good") -> Path:
        """Key and chain of a server: good, expired, not_yet_valid, wrong_host, or self_signed."""
        if kind == "self_signed":  # an authority is
            return self.write("self_signed.pem", self._foreign.private_key_pem, self._foreign.cert_pem)
        begin, end = {"expired": (-3, -1), "not_yet_valid": (1, 3)}.get(kind, (-1, 1))
        now, names = datetime.now(timezone.utc), ("elsewhere.invalid",) if kind == "wrong_host" else HERE
        valid = {"not_before": now + timedelta(days=begin), "not_after": now + timedelta(days=end)}
        return self.write(f"{kind}.pem", self.authority.issue_cert(*names, **valid).private_key_and_cert_chain_pem)

    def client(self, foreign: bool = False) -> tuple[str, str]:
        """Certificate and key of a client."""
        leaf = (self._foreign if foreign else self.authority).issue_cert("client@tests.invalid")
        name = "foreign" if foreign else "client"
        return (
            str(self.write(f"{name}.crt", *leaf.cert_chain_pems)),
            str(self.write(f"{name}.key", leaf.private_key_pem)),
        )

    def write(self, name: str, *parts: trustme.Blob) -> Path:
        path = self._folder / name
        path.write_bytes(b"".join(part.bytes() for part in parts))
        return path


def server_context(pem: Path, client_ca: Optional[Path] = None, **settings: Any) -> ssl.SSLContext:
    """The context of a server; with `client_ca`, it requires a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    for name, value in settings.items():
        setattr(context, name, value)
    return context
