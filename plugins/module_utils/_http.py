# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP: one requests session, retries of reads, and every failure as a TransportError. Private to this collection.

The libraries do not support the body of a 204, interim responses other than 100, and a limit on the total time of a
response, so this file contains a response class for them. C(http.client) lets a connection class name one
(C(response_class)); the class uses attributes and methods without an underscore only.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import math
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ._errors import AnswerError, HelixError, MissingLibraryError, OptionError, TransportError
from ._redaction import Redactor
from ._status import parse_http_date

try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from urllib3 import connection
    from urllib3 import exceptions as low
except ImportError:
    REQUESTS_IMPORT_ERROR: str | None = traceback.format_exc()
    HTTPAdapter = object  # type: ignore[misc,assignment]
else:
    REQUESTS_IMPORT_ERROR = None
    # TimeoutError: before Python 3.10, it is not the timeout of a socket.
    _TIMEOUTS = (requests.ReadTimeout, low.ReadTimeoutError, socket.timeout, TimeoutError)
    _UNUSABLE = (
        *(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema),
        *(low.LocationValueError, UnicodeError),
    )

#: Equal to the version in galaxy.yml; a test compares them.
VERSION = "1.0.0"
#: HTTP statuses after which a read is retried.
RETRIED = frozenset((429, 502, 503, 504))
#: The longest Retry-After that is respected, in seconds.
LONGEST_PAUSE = 60.0
#: The largest response that is read. A list of 10,000 ETLs takes about 2 MB.
MAX_BODY_BYTES = 32 * 1024 * 1024
#: Old versions of urllib3 decompress a piece at once, up to a thousandfold, so the pieces are small.
_PIECE = 16 * 1024
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
#: Where Linux distributions and BSDs keep the CA bundle that the administrator maintains.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_CUT = "the connection was closed in the middle of the response"
_CLOSED = "the connection was closed before a response was received"
_PROXY_DEMANDS = "the proxy requires a user name and password, or rejected them (HTTP 407)"
_AGAIN = "This is usually caused by a restart of the server or of a gateway. Try again later."
_CHECK = "Check url, and the gateways in front of the server."
_CHECK_TLS = (
    "Check the scheme, host, and port in url. If the server requires a client certificate, set client_cert and"
    " client_key to one that it accepts."
)
_SLOW = "If the server is known to be slow, increase request_timeout (seconds)."
_REACH = "Check the host and the port in url, the firewall, and the proxy."
_ADDRESS = "Check url, login_url, and proxy. Percent-encode special characters in the password of the proxy."
_PROXY = "Check proxy or HTTPS_PROXY, and whether the proxy allows and reaches this address; or add it to NO_PROXY."
_PROXY_USER = "Set proxy to http://USER:PASSWORD@HOST:PORT. Percent-encode special characters."


class Clock:
    """Monotonic time, wall time, and sleep, all in seconds. Tests replace it."""

    def now(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, UTC, by the clock of this machine."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class Answer:
    """A complete HTTP response."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {str(name).lower(): str(value) for name, value in headers.items()}
        self.body = body

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The decoded body.

        :raises ValueError: the body is not JSON, contains NaN or Infinity, or is nested too deeply.
        """
        try:
            data = json.loads(self.body.decode("utf-8-sig"), parse_constant=_finite, parse_float=_finite)
            if _SURROGATE.search(self.body):
                # Half of a surrogate pair can neither be printed nor sent.
                data = json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))
            return data
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (a number or an HTTP date), at most 60; None without such a header."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text[:9]), LONGEST_PAUSE)
        moment, now = parse_http_date(text), parse_http_date(self.headers.get("date"))
        return None if moment is None or now is None else min(max(moment - now, 0.0), LONGEST_PAUSE)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def backoff(attempt: int, asked: float | None = None) -> float:
    """Seconds before the next attempt: what the server asked for, or 0.5, 1, 2 ... up to 30, with jitter."""
    if asked is not None:
        return asked + random.uniform(0.0, 0.5)
    return min(0.5 * 2.0 ** min(attempt, 10), 30.0) * random.uniform(0.5, 1.0)


# -- the connection ---------------------------------------------------------------------------------------------------


class _Limit(threading.local):
    """Limits the total time of a response; the timeout of a socket starts again with every byte. One per thread."""

    expired = False
    seconds = 0.0
    timer: threading.Timer | None = None

    def start(self, sock: Any) -> None:
        self.stop()
        # The timer runs in another thread, where this object has other values.
        values = self.__dict__

        def expire() -> None:
            values["expired"] = True
            try:
                # Not the method of the TLS socket, which would let the reader continue without TLS.
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)
            except OSError:
                pass  # closed meanwhile

        self.timer = threading.Timer(self.seconds, expire)
        self.timer.daemon = True
        self.timer.start()

    def stop(self) -> None:
        if self.timer:
            self.timer.cancel()


_limit = _Limit()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        _limit.start(sock)

    def begin(self) -> None:
        super().begin()
        while http.client.SWITCHING_PROTOCOLS < self.status < http.client.OK:
            # Skip an interim response (103). Otherwise, the next request would read the final response.
            self.headers = None  # type: ignore[assignment]
            super().begin()
        # The documentation of the service names 204 as the success of a status request, and prints a body.
        length = self.headers.get("Content-Length", "").strip()
        if self.status == http.client.NO_CONTENT and not self.chunked and length.isascii() and length.isdigit():
            self.length = int(length)


class _Adapter(HTTPAdapter):
    """Trusts only what its context trusts."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=4, pool_maxsize=max(1, connections))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        kwargs["ssl_context"] = self._context
        if proxy.lower().startswith("https://"):
            kwargs["proxy_ssl_context"] = self._context
        return super().proxy_manager_for(proxy, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has loaded the CA bundle. The library would load it again for every connection."""
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = self._context.verify_mode, None, None
        if not hasattr(conn.ConnectionCls, "helix"):
            names = {"response_class": _Response, "helix": True}
            conn.ConnectionCls = type(conn.ConnectionCls.__name__, (conn.ConnectionCls,), names)


class Trust(NamedTuple):
    """The CA bundle (a file or a folder) and what named it. An empty path: certificates are not verified."""

    path: str
    source: str

    def __str__(self) -> str:
        return f"CA bundle used: {self.path} (from {self.source})." if self.path else "Certificates are not verified."


def find_trust(validate_certs: bool, ca_path: str | None, environ: Mapping[str, str]) -> Trust:
    """C(ca_path), or the file that a variable names, or the bundle of the system, or the one of certifi.

    :raises OptionError: a named file does not exist or cannot be read.
    """
    if not validate_certs:
        return Trust("", "validate_certs")
    named = [(ca_path, "ca_path")] + [(environ.get(name), name) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    for path, source in named:
        if path:
            _check_readable(path, f"the option {source}" if source == "ca_path" else f"the variable {source}")
            return Trust(path, source)
    for system in (ssl.get_default_verify_paths().cafile, *_SYSTEM_BUNDLES):
        if system and os.access(system, os.R_OK):
            return Trust(system, "the system")
    return Trust(requests.utils.DEFAULT_CA_BUNDLE_PATH, "certifi")


def _check_readable(path: str, named_by: str) -> None:
    if not os.access(path, os.R_OK):
        problem = "is not readable for the user that runs the task" if Path(path).exists() else "does not exist"
        raise OptionError(
            f"The file {path}, named by {named_by}, {problem}.",
            remedy="Set the path of a PEM file on the host that runs the task.",
        )


def make_context(trust: Trust, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """One context for all connections.

    C(ssl.create_default_context) is not used: from Python 3.13, it refuses many private CAs of on-premises systems.

    :raises OptionError: a file is missing or is not in the PEM format.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in curl, a CA in the file is trusted even if it is not a root.
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
    if not trust.path or vars(urllib3)["__version__"].startswith("1."):
        # urllib3 1.26 compares names itself, and gives OpenSSL no name to compare if the host is an IP address.
        context.check_hostname = False
    if not trust.path:
        context.verify_mode = ssl.CERT_NONE
        # The user has decided (validate_certs); the warning would be printed for each request.
        urllib3.disable_warnings(low.InsecureRequestWarning)
    for option, file in (("client_cert", client_cert), ("client_key", client_key)):
        if file:
            _check_readable(file, f"the option {option}")
    used = f"CA bundle {trust.path} (from {trust.source})"
    try:
        if trust.path:
            folder = Path(trust.path).is_dir()
            context.load_verify_locations(None if folder else trust.path, trust.path if folder else None)
        if client_cert:
            used = f"client certificate {client_cert} with the key {client_key or client_cert}"
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(client_cert, client_key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or "no PEM data").replace("_", " ").lower()
        raise OptionError(
            f"The {used} cannot be used ({reason}).",
            remedy="ca_path must be a PEM file, or a folder prepared with 'openssl rehash'. client_cert and client_key"
            " must be PEM files that belong together, without a passphrase.",
        ) from None
    return context


# -- exchanges --------------------------------------------------------------------------------------------------------


class Transport:
    """Sends requests, with one CA bundle, one proxy rule, and one set of secrets to mask. Safe for several threads.

    :raises OptionError: a TLS file cannot be used.
    :raises MissingLibraryError: C(requests) cannot be imported.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        redactor: Redactor,
        validate_certs: bool = True,
        ca_path: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        proxy: str | None = None,
        request_timeout: float = 30.0,
        retries: int = 3,
        connections: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if REQUESTS_IMPORT_ERROR:
            raise MissingLibraryError("The Python library requests is missing.")
        redactor.add_url(proxy)
        self.clock = clock
        self.redactor = redactor
        self.retries = retries
        self.trust = find_trust(validate_certs, ca_path, os.environ if environ is None else environ)
        self.context = make_context(self.trust, client_cert, client_key)
        self._client_cert = client_cert
        self._timeout = request_timeout
        self._proxy = proxy if not proxy or "://" in proxy else f"http://{proxy}"
        #: The server's time and the monotonic time then. One value, so that threads never see half of it.
        self._server_clock: tuple[float, float] | None = None
        self._session = requests.Session()
        self._session.trust_env = False  # no netrc file, and no variable that overrides verify
        self._session.verify = self.trust.path or False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Otherwise, requests reads the whole body of a redirect that it was told not to follow.
        self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(self.context, connections))

    def close(self) -> None:
        self._session.close()

    def server_time(self) -> float | None:
        """Seconds since 1970 by the clock of the server (its latest C(Date) header), or None if it never sent one."""
        if self._server_clock is None:
            return None
        server, ours = self._server_clock
        return server + (self.clock.now() - ours)

    def server_now(self) -> float:
        """The same, or by the clock of this machine."""
        server = self.server_time()
        return self.clock.wall() if server is None else server

    def read(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        payload: Any = None,
        retries: int | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """A request that may be repeated: after 429, 502, 503, 504, and lost connections.

        C(Retry) of urllib3 is not used, because it obeys any C(Retry-After), even of a day. The last response is
        returned, whatever its status.

        :param deadline: a moment on C(clock.now()); there is no retry whose pause would end after it.
        :raises TransportError: the last attempt got no usable response.
        """
        attempt, left = 0, self.retries if retries is None else retries
        while True:
            try:
                answer = self.once(method, url, headers, payload)
                pause = backoff(attempt, answer.retry_after())
                if answer.status not in RETRIED or attempt >= left or self._is_late(pause, deadline):
                    return answer
            except TransportError as error:
                pause = backoff(attempt)
                if not error.transient or attempt >= left or self._is_late(pause, deadline):
                    raise
            self.clock.sleep(pause)
            attempt += 1

    def _is_late(self, pause: float, deadline: float | None) -> bool:
        return deadline is not None and self.clock.now() + pause > deadline

    def once(self, method: str, url: str, headers: Mapping[str, str], payload: Any = None) -> Answer:
        """One request, never repeated. Redirects are not followed.

        :raises TransportError: no usable response; C(maybe_done) tells whether the server may have acted.
        """
        proxies, proxy = self._proxies(method, url)
        sent_headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"capacityops.bmc_helix/{VERSION}",
            **headers,
        }
        _limit.expired, _limit.seconds = False, self._timeout
        try:
            with self._session.request(
                method,
                url,
                headers=sent_headers,
                data=None if payload is None else json.dumps(payload).encode("utf-8"),
                timeout=self._timeout,
                proxies=proxies,
                allow_redirects=False,
                stream=True,
            ) as response:
                answer = Answer(response.status_code, response.headers, _body(response))
            if _limit.expired:
                # If the end of the connection is the end of the body, the body looks complete.
                raise requests.ReadTimeout("the response took too long")
        except (OSError, ValueError, low.HTTPError, http.client.HTTPException) as error:
            raise self._explained(error, method, url, proxy) from None
        finally:
            _limit.stop()
        failure = _refusal(answer, method, url, proxy)
        if failure:
            raise failure
        moment = parse_http_date(answer.headers.get("date"))
        if moment is not None:
            self._server_clock = (moment, self.clock.now())
        return answer

    def proxy_for(self, url: str) -> str | None:
        """The proxy that requests to this address go through.

        :raises TransportError: it cannot be used.
        """
        return self._proxies("GET", url)[1]

    def _proxies(self, method: str, url: str) -> tuple[dict[str, str], str | None]:
        """The proxies as C(requests) expects them, and the one that is used for this address."""
        proxies: dict[str, str] = {"http": self._proxy, "https": self._proxy} if self._proxy else {}
        if not proxies:
            proxies = dict(requests.utils.get_environ_proxies(url, no_proxy=None))
            for address in proxies.values():
                self.redactor.add_url(address)
        proxy = requests.utils.select_proxy(url, proxies)
        if proxy and proxy.lower().startswith("socks") and not importlib.util.find_spec("socks"):
            words = "a SOCKS proxy requires the Python library PySocks"
            install = f"Install it: {sys.executable} -m pip install 'requests[socks]'"
            raise _failure(method, url, proxy, words, kind="proxy", remedy=install)
        return proxies, proxy

    def _explained(self, error: Exception, method: str, url: str, proxy: str | None) -> TransportError:
        """The failure as our error, without the texts of the libraries, which quote addresses and headers."""
        causes = _Causes(error)
        has, tunnel, reason, patience = causes.any, causes.tunnel, causes.reason, f"within {self._timeout:g} s"
        unsent = has(low.NewConnectionError, low.ConnectTimeoutError, socket.gaierror, ConnectionRefusedError)
        timeout = _limit.expired or (has(*_TIMEOUTS) and not unsent)
        by_proxy = proxy and (tunnel or has(requests.exceptions.ProxyError))
        # Without a tunnel, nothing was sent. Old libraries also report a connection that breaks inside the tunnel as a
        # failure of the proxy. A 4xx status is a decision of the proxy.
        proxy_flags = ("" if tunnel or unsent else "done ") + ("" if tunnel.startswith("4") else "retry")
        slow = not reason and has(low.ConnectTimeoutError)
        invalid = has(http.client.HTTPException, low.InvalidHeader) and not has(ConnectionError)
        large = f"the response is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB"
        ca = "Correct the server certificate, or set ca_path (helix_ca_path, HELIX_CA_PATH) to the correct CA."
        ca = f"{ca} {self.trust}"
        # The first that applies: kind, words, remedy, and whether the server may have acted (done), and whether to
        # retry a read. With TLS 1.3, a handshake can fail after the server has read the request.
        rules: tuple[tuple[object, str, str, str, str], ...] = (
            (has(_TooLargeError), "unexpected_answer", large, _CHECK, "done"),
            (timeout, "timeout", f"no complete response {patience}", _SLOW, "done retry"),
            (causes.certificate, "tls", f"the TLS certificate was rejected: {causes.certificate}", ca, ""),
            (causes.handshake, "tls", f"the TLS handshake failed: {causes.handshake}", _CHECK_TLS, "done"),
            (by_proxy and tunnel == "407", "proxy", _PROXY_DEMANDS, _PROXY_USER, ""),
            (by_proxy and tunnel, "proxy", f"the proxy refused the connection with HTTP {tunnel}", _PROXY, proxy_flags),
            (by_proxy, "proxy", f"the proxy could not be used: {reason or 'no reason given'}", _PROXY, proxy_flags),
            (has(*_UNUSABLE), "invalid_option", "the address, or the address of the proxy, is not valid", _ADDRESS, ""),
            (unsent and slow, "timeout", f"no connection {patience}", _REACH, "retry"),
            (unsent, "connection", f"no connection: {reason or 'no reason given'}", _REACH, "retry"),
            (has(low.DecodeError), "unexpected_answer", "the response cannot be decompressed", _CHECK, "done retry"),
            (has(http.client.IncompleteRead), "connection", _CUT, _AGAIN, "done retry"),
            (invalid, "unexpected_answer", "the response is not valid HTTP", _CHECK, "done retry"),
            (has(OSError, low.HTTPError), "connection", _CLOSED, _AGAIN, "done retry"),
            (True, "connection", f"unknown reason ({type(error).__name__})", "Report this as a bug.", "done"),
        )
        kind, words, remedy, flags = next(rule[1:] for rule in rules if rule[0])
        if words == _CLOSED and self._server_clock is None and not self._client_cert:
            # Such a server can close the connection before its alert arrives.
            remedy += " If the server requires a client certificate, set client_cert."
        return _failure(method, url, proxy, words, kind=kind, remedy=remedy, flags=flags)


class _TooLargeError(OSError):
    """The response is longer than the limit."""


def _body(response: Any) -> bytes:
    """The body, decompressed. C(raw.read), because C(iter_content) reads chunk headers of any length."""
    if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        raise low.DecodeError("unknown encoding")
    # urllib3 1.26 accepts a body that was cut. It also expects no body in a 204.
    response.raw.enforce_content_length = response.status_code != http.client.NO_CONTENT
    body = bytearray()
    while True:
        piece = response.raw.read(_PIECE, decode_content=True)
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError("the response is too large")
        if not piece:
            return bytes(body)


class _Causes:
    """An exception and its causes; urllib3 keeps them in C(reason) or in C(args).

    Not those of our own errors: Python links an error that is being handled to the next one.
    """

    def __init__(self, error: BaseException | None) -> None:
        self.all: list[BaseException] = []
        todo: list[Any] = [error]
        while todo:
            current = todo.pop(0)
            if isinstance(current, BaseException) and not isinstance(current, HelixError) and current not in self.all:
                self.all.append(current)
                todo += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]

    def any(self, *types: type[BaseException]) -> bool:
        return any(isinstance(cause, types) for cause in self.all)

    @property
    def reason(self) -> str:
        """The reason given by the operating system."""
        if self.any(socket.gaierror):
            return "the host name could not be resolved"
        words = (c.strerror for c in self.all if isinstance(c, OSError) and c.errno and c.strerror)
        return next(words, "").lower()

    @property
    def tunnel(self) -> str:
        """The HTTP status with which a proxy refused a tunnel. Only the text of http.client contains it."""
        text = next((str(cause) for cause in self.all if str(cause).startswith("Tunnel connection failed")), "")
        return "".join(filter(str.isdigit, text))[:3]

    @property
    def certificate(self) -> str:
        """The reason given by OpenSSL for rejecting a certificate. urllib3 1.26 compares the names itself."""
        wrong_name = getattr(connection, "CertificateError", ssl.SSLCertVerificationError)
        found = [cause for cause in self.all if isinstance(cause, (ssl.SSLCertVerificationError, wrong_name))]
        return str(getattr(found[0], "verify_message", "") or "hostname mismatch").rstrip(".") if found else ""

    @property
    def handshake(self) -> str:
        """The words of OpenSSL about another failure; a connection that was closed is none."""
        words = [str(cause.reason or "no reason given") for cause in self.all if isinstance(cause, ssl.SSLError)]
        closed = self.any(ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError) or "EOF" in "".join(words)
        return words[0].replace("_", " ").lower() if words and not closed else ""


def _refusal(answer: Answer, method: str, url: str, proxy: str | None) -> TransportError | None:
    """A response of a proxy, or of the TLS layer of nginx, instead of the service."""
    if answer.status == 407 and proxy:
        return _failure(method, url, proxy, _PROXY_DEMANDS, kind="proxy", remedy=_PROXY_USER)
    # In a long text of letters, this search would take minutes. The page of nginx is short.
    nginx = r"[\w ]*SSL certificate[\w ]*|The plain HTTP request was sent to HTTPS port"
    said = answer.status == 400 and re.search(nginx, answer.text()[:2000])
    if not said:
        return None
    words = f"the server rejected the TLS connection: {said.group().strip()}"
    return _failure(method, url, proxy, words, kind="tls", remedy=_CHECK_TLS)


def _failure(
    method: str, url: str, proxy: str | None, words: str, *, kind: str, remedy: str, flags: str = ""
) -> TransportError:
    where = f"{place(url)} through the proxy {proxy_place(proxy)}" if proxy else place(url)
    return TransportError(
        f"The request to {where} failed: {words}.",
        kind=kind,
        remedy=remedy,
        method=method,
        path=path(url),
        maybe_done="done" in flags,
        transient="retry" in flags,
    )


def proxy_place(proxy: str) -> str:
    """Host and port of a proxy, without its user and password."""
    return proxy.rpartition("@")[2].rpartition("//")[2].rstrip("/")


def place(url: str) -> str:
    """Scheme, host, and port of an address, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def path(url: str) -> str:
    return urlsplit(url).path


def facts(answer: Answer, method: str, path: str, redactor: Redactor) -> dict[str, Any]:
    """What an C(AnswerError) about this response carries."""
    said = redactor.text(answer.text()) or None
    return {"http_status": answer.status, "method": method, "path": path, "server_message": said}


def decoded(answer: Answer, method: str, url: str, redactor: Redactor) -> Any:
    """The JSON of a response; None for an empty body.

    :raises AnswerError: the body is not JSON; C(maybe_done), since a gateway may have replaced the response.
    """
    if not answer.body.strip():
        return None
    try:
        return answer.json()
    except ValueError:
        pass
    shown = redactor.text(answer.text(), 200)
    what = "a web page instead of JSON" if answer.body.lstrip()[:1] == b"<" else "data that is not JSON"
    raise AnswerError(
        f"{place(url)} returned HTTP {answer.status} with {what}: {shown!r}.",
        http_status=answer.status,
        method=method,
        path=path(url),
        server_message=shown,
        remedy=f"This is often a login or maintenance page of a gateway. {_CHECK}",
        maybe_done=True,
        transient=True,
    )
