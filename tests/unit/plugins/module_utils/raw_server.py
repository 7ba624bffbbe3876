# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server on loopback that sends exactly the bytes that a test gives it."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading


class RawServer(socketserver.ThreadingTCPServer):
    """Sends the next script for each request, and the last one for all further requests.

    A script is the bytes of a response, or a function that gets the connection, which is closed afterwards.

    :param tls: the SSL context of the server; without it, the server does not use TLS.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, *scripts, tls=None):
        super().__init__(("127.0.0.1", 0), None)
        self.scripts, self.tls = scripts or (reply(b"{}"),), tls
        self.requests, self.connections = [], 0
        self.port = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self.shutdown()
        self.server_close()

    def finish_request(self, request, client_address):
        self.connections += 1
        request.settimeout(20)
        # Whatever a client does to a connection is what the test provokes.
        with contextlib.suppress(OSError, ValueError):
            connection = self.tls.wrap_socket(request, server_side=True) if self.tls else request
            with connection:
                while self._respond(connection):
                    pass

    def _respond(self, connection):
        """Whether the connection stays open."""
        request = _read_request(connection)
        if not request:
            return False
        self.requests.append(request)
        script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
        if callable(script):
            script(connection)
            return False
        connection.sendall(script)
        return b"content-length" in script.lower() and b"connection: close" not in script.lower()


def _read_request(connection):
    """A complete request, or what came before the client closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        data += piece
        if not piece or data[:1] == b"\x16":  # the first byte of TLS, which has no such end
            return data
    head, _gap, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(body=b"", status="200 OK", *headers):
    """The bytes of a valid response."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextlib.contextmanager
def refusing_port():
    """A port on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
