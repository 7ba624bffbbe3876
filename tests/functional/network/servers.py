# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that say exactly the bytes they are told to, on loopback and a port of the kernel's choice."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Optional, Union

Script = Union[bytes, Callable[[Any], None]]


class RawServer:
    """Reads a request, then sends bytes as they stand, or lets a function have the socket.

    Requests are kept as they came. After the last script of the list that one is used again.
    """

    def __init__(self, *scripts: Script, tls: Optional[ssl.SSLContext] = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._scripts = list(scripts)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: Any) -> None:
        # What a client does to the connection is its business here: that is what the tests provoke.
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(20)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._sockets.append(connection)
            with connection:
                while True:
                    request = read_request(connection)
                    if not request:
                        return
                    number = len(self.requests)
                    self.requests.append(request)
                    script = self._scripts[min(number, len(self._scripts) - 1)]
                    if isinstance(script, bytes):
                        connection.sendall(script)
                        if b"\nconnection: close" in script.lower() or b"content-length" not in script.lower():
                            return
                    else:
                        script(connection)
                        return


def read_request(connection: Any) -> bytes:
    """A whole request, or nothing where the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
        if data[:1] == b"\x16":  # the first byte of TLS, which this server does not speak
            return data
    head, _blank, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(body: bytes, status: str = "200 OK", headers: Iterable[str] = ()) -> bytes:
    """A proper HTTP answer."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody will as long as this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
