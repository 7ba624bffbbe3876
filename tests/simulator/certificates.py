# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate authority that lives as long as the process, and the server's certificate."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

VARIETIES = ("valid", "expired", "wrong-host")
_NAMES = ("localhost", "127.0.0.1", "::1")


def server_context(variety: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Write the authority (`ca.pem`) and the server's key and certificate (`server.pem`) into the folder."""
    authority = trustme.CA()
    now = datetime.now(timezone.utc)
    if variety == "expired":
        begin, end = now - timedelta(days=60), now - timedelta(days=30)
    else:
        begin, end = now - timedelta(days=1), now + timedelta(days=365)
    names = ("somewhere-else.invalid",) if variety == "wrong-host" else _NAMES
    server = authority.issue_cert(*names, not_before=begin, not_after=end)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    server_file = folder / "server.pem"
    server_file.touch(mode=0o600)
    server.private_key_and_cert_chain_pem.write_to_path(str(server_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    return context, ca_file
