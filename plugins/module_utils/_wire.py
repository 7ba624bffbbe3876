# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The C(requests) library as this collection uses it: our trust alone, and answers bounded in time and size.

Private to this collection. An adapter is used instead of a session: a session reads netrc files, keeps cookies, lets
environment variables change the trust, and reads the whole body of a redirect that it was told not to follow.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

try:
    import requests
    import requests.adapters
    import requests.utils
    import urllib3
    import urllib3.exceptions
except ImportError:
    REQUESTS_IMPORT_ERROR: str | None = traceback.format_exc()
    FAILURES: tuple[type[Exception], ...] = (OSError, ValueError)
else:
    REQUESTS_IMPORT_ERROR = None
    #: What an exchange may raise; all that C(requests) raises is an OSError.
    FAILURES = (OSError, ValueError, urllib3.exceptions.HTTPError)

#: The largest answer that is read. A list of 10,000 ETLs takes about 2 MB.
MAX_BODY_BYTES = 32 * 1024 * 1024
_PIECE = 64 * 1024


class TooLargeError(OSError):
    """The answer is longer than we are willing to read."""


class BadEncodingError(ValueError):
    """The body came compressed, though none such was asked for, and cannot be unpacked."""


class _Bounded(io.RawIOBase):
    """The bytes of one answer, status line and headers included.

    A time-out of the socket starts anew with every byte, and the libraries put no bound on lines of a chunked body:
    a server that drips or gushes would hold us, or fill the memory, for ever.
    """

    def __init__(self, raw: Any, sock: Any) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._patience = sock.gettimeout()
        self._end = None if self._patience is None else time.monotonic() + self._patience
        # Room for headers too; the body alone is counted where it is put together.
        self._left = MAX_BODY_BYTES + 1024 * 1024

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is None:
            count: int | None = self._raw.readinto(buffer)
        else:
            left = self._end - time.monotonic()
            if left <= 0:
                raise socket.timeout("the answer takes too long")
            self._sock.settimeout(left)
            try:
                count = self._raw.readinto(buffer)
            finally:
                self._sock.settimeout(self._patience)
        self._left -= count or 0
        if self._left < 0:
            raise TooLargeError("the answer is too large")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock))

    def begin(self) -> None:
        """Leaves the body of a 204 in place: HTTP knows none, but the service prints samples of one for a status."""
        super().begin()
        length = self.headers.get("Content-Length", "").strip()
        if self.status == http.client.NO_CONTENT and not self.chunked and length.isascii() and length.isdigit():
            self.length = int(length)

    def _read_status(self) -> tuple[str, int, str]:
        """Passes over interim answers: taken for the real one, they would leave that one to the next request."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not http.client.SWITCHING_PROTOCOLS < status < http.client.OK:
                return version, status, reason
            http.client.parse_headers(self.fp)


def _bound(manager: Any) -> None:
    """Let every connection that this pool manager makes read its answers through C(_Response)."""
    manager.pool_classes_by_scheme = {
        scheme: type(
            pool.__name__,
            (pool,),
            {"ConnectionCls": type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": _Response})},
        )
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def make_adapter(context: ssl.SSLContext, connections: int) -> Any:
    """An adapter that trusts what C(context) trusts, for so many requests at a time."""

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, ssl_context=context)
            _bound(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            if proxy in self.proxy_manager:
                return self.proxy_manager[proxy]
            kwargs["ssl_context"] = context
            if proxy.lower().startswith("https://"):
                kwargs["proxy_ssl_context"] = context
            manager = super().proxy_manager_for(proxy, **kwargs)
            _bound(manager)
            return manager

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            """Only what the context says: the library would add certifi's authorities to it."""
            conn.cert_reqs = context.verify_mode  # where it is missing, urllib3 1.26 puts its own idea into the context
            conn.ca_certs = None

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            """The context decides, for every pool (requests 2.32 and newer ask here)."""
            host, kwargs = super().build_connection_pool_key_attributes(request, verify, cert)
            pool: dict[str, Any] = dict(kwargs)
            for key in ("ca_certs", "ca_cert_dir", "ssl_context"):
                pool.pop(key, None)
            pool["cert_reqs"] = context.verify_mode
            return host, pool

    if str(vars(urllib3)["__version__"]).startswith("1."):
        # It gives OpenSSL no name where the host is an IP address, and compares names itself if the context does not.
        context.check_hostname = False
    if context.verify_mode == ssl.CERT_NONE:
        # Said by whoever set validate_certs; urllib3 would print it for each request, on the terminal of a lookup.
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    return Adapter(pool_connections=4, pool_maxsize=max(1, connections), max_retries=0)


def environment_proxies(url: str) -> dict[str, str]:
    """What C(HTTPS_PROXY), C(NO_PROXY) and their like say about this address."""
    proxies: dict[str, str] = requests.utils.get_environ_proxies(url, no_proxy=None)
    return proxies


def proxy_for(url: str, proxies: dict[str, str]) -> str | None:
    """The one of these proxies that is used for this address."""
    chosen: str | None = requests.utils.select_proxy(url, proxies)
    return chosen


def exchange(
    adapter: Any,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes | None,
    timeout: float,
    proxies: dict[str, str],
) -> tuple[int, Any, bytes]:
    """Status, headers and body of one request, sent once.

    :raises Exception: one of C(FAILURES), C(TooLargeError) and C(BadEncodingError) among them.
    """
    request = requests.Request(method, url, headers=headers, data=body).prepare()
    response = adapter.send(request, stream=True, timeout=timeout, verify=True, proxies=proxies)
    try:
        pieces = []
        size = 0
        for piece in _unpacked(response):
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise TooLargeError("the body is too large")
            pieces.append(piece)
    finally:
        response.close()
    return response.status_code, response.headers, b"".join(pieces)


def _unpacked(response: Any) -> Iterator[bytes]:
    """The body in pieces of bounded size. The libraries' own unpacking makes a gigabyte of one piece."""
    response.raw.enforce_content_length = True  # urllib3 1.26 takes a cut body for a whole one
    pieces = response.raw.stream(_PIECE, decode_content=False)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from pieces
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BadEncodingError("unknown encoding")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for piece in pieces:
            while piece:
                yield unpack.decompress(piece, 16 * _PIECE)
                piece = unpack.unconsumed_tail
        yield unpack.flush()
    except zlib.error:
        raise BadEncodingError("damaged") from None
