# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP exchanges with a socket on loopback that answers byte for byte what a test wants."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _http
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import AnswerError, TransportError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Answer, Transport, backoff, decoded
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    FakeClock,
    FakeTransport,
    Script,
    answer,
)

pytest.importorskip("requests")

# Its server ends each connection after one answer, and says so: without the word, a client that is quick enough would
# send its next request into the connection that is just being closed.
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Fri, 15 Jan 2027 09:00:00 GMT\r\nConnection: close\r\n"
)
GOOD = HEAD + b"Content-Length: 2\r\n\r\n{}"
TOKEN = {"Authorization": f"Bearer {SECRET}"}
RESET = object()
SILENCE = object()


class Server:
    """Serves one connection after the other; each takes the next of the answers."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self.requests: list[bytes] = []
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, _peer = self._socket.accept()
                with connection:
                    connection.settimeout(5)
                    self._answer(connection)

    def _answer(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(65536)
            if not piece:
                return
            request += piece
        head, _gap, body = request.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while lengths and len(body) < int(lengths[0].split(b":")[1]):
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        reply = self._answers.pop(0) if self._answers else GOOD
        if reply is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif reply is SILENCE:
            self._over.wait(5)
        else:
            connection.sendall(reply)

    def close(self):
        self._over.set()
        self._thread.join(5)
        self._socket.close()


@pytest.fixture
def serve():
    servers = []

    def start(*answers):
        servers.append(Server(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def transport():
    made = []

    def make(**options):
        redactor = options.pop("redactor", Redactor())
        redactor.add(SECRET)
        options.setdefault("request_timeout", 5.0)
        options.setdefault("validate_certs", False)
        made.append(Transport(clock=FakeClock(), redactor=redactor, environ={}, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def failure(work):
    with pytest.raises(TransportError) as caught:
        work()
    error = caught.value
    assert error.remedy
    assert SECRET not in error.sentence() + str(error.facts()) + repr(error) + repr(error.__cause__)
    assert error.__cause__ is None
    return error


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_the_headers_of_a_request(serve, transport):
    server = serve()
    transport().once("POST", server.url + "/a/b", TOKEN, {"key": "wört"})
    lines = server.requests[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1 : lines.index("")])
    assert lines[0] == "POST /a/b HTTP/1.1"
    assert lines[-1] == '{"key": "w\\u00f6rt"}'
    assert "Cookie" not in headers
    assert headers.items() >= {
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Authorization", f"Bearer {SECRET}"),
        ("User-Agent", f"capacityops.bmc_helix/{_http.VERSION}"),
        ("Accept-Encoding", "identity"),
    }


def test_a_request_without_a_body(serve, transport):
    server = serve(GOOD, GOOD)
    t = transport()
    t.once("POST", server.url + "/stop", {})
    t.once("GET", server.url + "/status", {})
    assert all(request.endswith(b"\r\n\r\n") for request in server.requests)


def test_no_netrc_and_no_cookies(serve, transport, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login joe password pa55word\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(HEAD + b"Set-Cookie: session=1; Path=/\r\nContent-Length: 2\r\n\r\n{}")
    t = transport()
    t.once("GET", server.url + "/", {})
    t.once("GET", server.url + "/", {})
    assert not any(b"Authorization" in request or b"Cookie" in request for request in server.requests)


def test_redirects_are_not_followed(serve, transport):
    other = serve()
    server = serve(b"HTTP/1.1 302 Found\r\nLocation: " + other.url.encode() + b"/\r\nContent-Length: 0\r\n\r\n")
    assert transport().once("GET", server.url + "/", TOKEN).status == 302
    assert other.requests == []


def test_the_servers_clock(serve, transport):
    t = transport()
    assert t.server_time() is None
    t.once("GET", serve().url + "/", {})
    first = t.server_time()
    assert first == 1800003600.0
    t.clock.pass_by(10)
    assert t.server_time() == first + 10


# -- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "transient", "words"),
    [
        (RESET, "connection", True, "was closed before a response was received"),
        (b"", "connection", True, "was closed before a response was received"),
        (SILENCE, "timeout", True, "within 0.3 s"),
        (HEAD + b"Content-Length: 99\r\n\r\n{", "connection", True, "was closed in the middle of the response"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", "connection", True, "in the middle of the response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "unexpected_answer", True, "is not valid HTTP"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "unexpected_answer", True, "decompressed"),
        (HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000, "unexpected_answer", False, "is larger than"),
    ],
)
def test_answers_that_are_none(serve, transport, monkeypatch, reply, kind, transient, words):
    monkeypatch.setattr(_http, "MAX_BODY_BYTES", 1000)
    server = serve(reply)
    patience = 0.3 if reply is SILENCE else 5.0
    error = failure(lambda: transport(request_timeout=patience).once("POST", server.url + "/run", TOKEN, {}))
    assert (error.kind, error.method, error.path) == (kind, "POST", "/run")
    assert (error.maybe_done, error.transient) == (True, transient)
    assert words in error.message
    assert server.url in error.message


def test_nobody_listens(transport):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failure(lambda: transport().once("POST", f"http://127.0.0.1:{port}/run", TOKEN))
    assert error.message == f"The request to http://127.0.0.1:{port} failed: no connection: connection refused."
    assert (error.maybe_done, error.transient) == (False, True)


def test_a_name_that_does_not_resolve(transport, monkeypatch):
    def nobody(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    error = failure(lambda: transport().once("POST", "https://no-such-host.test/run", TOKEN))
    assert "could not be resolved" in error.message
    assert (error.maybe_done, error.transient) == (False, True)


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "transient"), [(403, False), (407, False), (502, True), (503, True)])
def test_a_proxy_that_makes_no_tunnel(serve, transport, code, transient):
    proxy = serve(b"HTTP/1.1 %d Sorry\r\nContent-Length: 0\r\n\r\n" % code)
    t = transport(proxy=f"http://joe:pa55word-of-joe@127.0.0.1:{proxy.port}")
    error = failure(lambda: t.once("POST", "https://helix.test/run", TOKEN))
    assert (error.kind, error.maybe_done, error.transient) == ("proxy", False, transient)
    assert f"127.0.0.1:{proxy.port}" in error.message
    assert str(code) in error.message
    assert "pa55word" not in error.sentence()
    assert SECRET.encode() not in proxy.requests[0]


@pytest.mark.parametrize(
    ("environment", "option", "through"),
    [
        ("http_proxy", False, True),
        ("HTTP_PROXY", False, True),
        ("HTTP_PROXY NO_PROXY", False, False),
        # The option wins over no_proxy.
        ("NO_PROXY", True, True),
    ],
)
def test_which_proxy_is_used(serve, transport, monkeypatch, environment, option, through):
    proxy, server = serve(), serve()
    for name in environment.split():
        monkeypatch.setenv(name, "127.0.0.1" if name == "NO_PROXY" else proxy.url)
    transport(**({"proxy": proxy.url} if option else {})).once("GET", server.url + "/x", {})
    assert (len(proxy.requests), len(server.requests)) == ((1, 0) if through else (0, 1))


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_proxy_without_a_scheme_is_an_http_proxy(serve, transport, scheme):
    proxy, redactor = serve(), Redactor()
    t = transport(proxy=f"{scheme}joe:pa55word-of-joe@127.0.0.1:{proxy.port}", redactor=redactor)
    t.once("GET", "http://helix.test/x", {})
    assert proxy.requests[0].startswith(b"GET http://helix.test/x")
    assert "pa55word" not in redactor.text("pa55word-of-joe")


def test_a_socks_proxy_without_its_library(transport, monkeypatch):
    monkeypatch.setattr(_http.importlib.util, "find_spec", lambda name: None)
    error = failure(
        lambda: transport(proxy="socks5h://joe:pa55word@127.0.0.1:1080").once("POST", "https://h.test/x", {})
    )
    assert (error.kind, error.maybe_done, error.transient) == ("proxy", False, False)
    assert "requires the Python library PySocks" in error.message
    assert "-m pip install" in error.remedy
    assert "pa55word" not in error.sentence()


# -- TLS: what tests/functional/test_network_tls.py cannot provoke ----------------------------------------------------


def handshake(reason, kind=ssl.SSLError):
    error = kind(1, f"[SSL: {reason}] something (_ssl.c:1000)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "maybe_done", "transient", "words"),
    [
        (handshake("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "tls", True, False, "tlsv13 alert certificate required"),
        (handshake("WRONG_VERSION_NUMBER"), "tls", True, False, "wrong version number"),
        (handshake(""), "tls", True, False, "no reason given"),
        (handshake("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), "connection", True, True, "was closed"),
        (handshake("UNEXPECTED_EOF_WHILE_READING"), "connection", True, True, "was closed"),
        (handshake("", ssl.SSLZeroReturnError), "connection", True, True, "was closed"),
        (ConnectionResetError(104, "reset"), "connection", True, True, "was closed"),
    ],
)
def test_what_is_a_matter_of_tls(transport, error, kind, maybe_done, transient, words):
    explained = transport()._explained(error, "POST", "https://helix.test/run", None)
    assert (explained.kind, explained.maybe_done, explained.transient) == (kind, maybe_done, transient)
    assert words in explained.message
    assert "_ssl.c" not in explained.sentence()


@pytest.mark.parametrize(
    "page", ["No required SSL certificate was sent", "The plain HTTP request was sent to HTTPS port"]
)
def test_nginx_reports_the_handshake_in_a_page(serve, transport, page):
    body = f"<title>400 {page}</title>".encode()
    server = serve(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    error = failure(lambda: transport().once("POST", server.url + "/run", TOKEN))
    assert (error.kind, error.maybe_done, error.transient) == ("tls", False, False)
    assert page in error.message


# -- reads are tried again --------------------------------------------------------------------------------------------

LOST = TransportError("lost", transient=True, remedy="Again.")
FINAL = TransportError("refused for good", transient=False, remedy="Mend it.")


@pytest.mark.parametrize(
    ("replies", "retries", "count", "result"),
    [
        ((answer(200),), 3, 1, 200),
        ((answer(502), answer(503), answer(504), answer(200)), 3, 4, 200),
        ((answer(502),), 3, 4, 502),
        ((answer(502),), 0, 1, 502),
        ((LOST, answer(429), LOST, answer(200)), 3, 4, 200),
        ((LOST,), 2, 3, "lost"),
        ((FINAL,), 3, 1, "refused for good"),
        ((answer(500),), 3, 1, 500),
        ((answer(401),), 3, 1, 401),
    ],
)
def test_when_a_read_is_tried_again(replies, retries, count, result):
    t = FakeTransport(Script(*replies), retries=retries)
    if isinstance(result, str):
        with pytest.raises(TransportError, match=result):
            t.read("GET", "https://helix.test/x", {})
    else:
        assert t.read("GET", "https://helix.test/x", {}).status == result
    assert len(t.exchanges) == count
    assert len(t.clock.slept) == count - 1


def test_no_retry_beyond_the_deadline_or_the_wish_of_the_caller():
    t = FakeTransport(Script(answer(502)), retries=3)
    t.read("GET", "https://helix.test/x", {}, retries=0)
    assert len(t.exchanges) == 1, "a caller may set other retries"
    t = FakeTransport(Script(answer(429, Retry_After="25"), answer(200)))
    t.read("GET", "https://helix.test/x", {})
    assert 25 <= t.clock.slept[0] <= 26
    t = FakeTransport(Script(answer(429, Retry_After="25"), answer(200)), retries=9)
    now = t.clock.now()
    assert t.read("GET", "https://helix.test/x", {}, deadline=now + 24).status == 429
    assert t.clock.slept == []
    t = FakeTransport(Script(LOST), retries=20)
    with pytest.raises(TransportError, match="lost"):
        t.read("GET", "https://helix.test/x", {}, deadline=now + 10)
    assert len(t.exchanges) > 2
    assert t.clock.now() <= now + 10


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": " 7 "}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "86400"}, 60.0),
        ({"Retry_After": "9" * 400}, 60.0),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "1.5"}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "²"}, None),
        ({"Retry_After": ""}, None),
        ({}, None),
        ({"Retry_After": "Fri, 15 Jan 2027 08:00:30 GMT", "Date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 30.0),
        ({"Retry_After": "Fri, 15 Jan 2027 07:00:00 GMT", "Date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 0.0),
        ({"Retry_After": "Fri, 15 Jan 2027 09:00:00 GMT", "Date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 60.0),
        ({"Retry_After": "Fri, 15 Jan 2027 08:00:30 GMT"}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert answer(429, **headers).retry_after() == seconds
    assert answer(429, **{name.upper(): value for name, value in headers.items()}).retry_after() == seconds


def test_pauses_grow_and_are_spread():
    for attempt in range(2000):
        assert 0 < backoff(attempt) <= 30
    assert 0.25 <= backoff(0) <= 0.5
    assert 15 <= backoff(9) <= 30
    assert len({backoff(5) for _number in range(20)}) > 10
    assert 12 <= backoff(3, 12.0) <= 12.5


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"   ", b"\r\n"])
def test_an_empty_body_is_no_value(body):
    assert decoded(Answer(200, {}, body), "GET", "https://helix.test/x", Redactor()) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><h1>Sign in</h1></html>", "with a web page instead of JSON: 'Sign in'"),
        (b"ETL not found", "with data that is not JSON: 'ETL not found'"),
        (b'{"a": 1', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100000, "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
    ],
)
def test_bodies_that_are_no_json(body, words):
    with pytest.raises(AnswerError) as caught:
        decoded(Answer(200, {}, body), "GET", "https://helix.test/x", Redactor())
    assert words in caught.value.message
    assert caught.value.maybe_done
    assert caught.value.transient
    assert caught.value.path == "/x"


def test_half_characters_do_no_harm():
    data = decoded(Answer(200, {}, b'{"name": "a\\ud800b"}'), "GET", "https://helix.test/x", Redactor())
    data["name"].encode("utf-8")
