# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP exchanges with a server that sends byte for byte what a test wants, also what no honest server sends.

tests/functional/test_network_libraries.py repeats this file with older libraries.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import time
import tracemalloc

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _http
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import AnswerError, TransportError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Answer, Transport, backoff, decoded
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import (
    RawServer,
    refusing_port,
    reply,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    SECRET,
    FakeClock,
    FakeTransport,
    Script,
    answer,
)

pytest.importorskip("requests")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
RUNNING = b'{"status": "RUNNING"}'
TOKEN = {"Authorization": f"Bearer {SECRET}"}
MEGABYTE = b"," * 2**20


@pytest.fixture
def serve():
    with contextlib.ExitStack() as servers:
        yield lambda *scripts: servers.enter_context(RawServer(*scripts))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def transport():
    with contextlib.ExitStack() as made:

        def make(**options):
            options = {"request_timeout": 5.0, "validate_certs": False, "redactor": Redactor(), **options}
            options["redactor"].add(SECRET)
            transport = Transport(clock=FakeClock(), environ={}, **options)
            made.callback(transport.close)
            return transport

        yield make


@pytest.fixture
def closed_port():
    with refusing_port() as port:
        yield port


def failure(work):
    """Return how it failed: in one line, without secrets, and without the exception of a library."""
    with pytest.raises(TransportError) as caught:
        work()
    error = caught.value
    assert error.remedy
    assert "\n" not in error.message
    assert len(error.message) < 400
    assert SECRET not in error.sentence() + str(error.facts()) + repr(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return error


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_requests(serve, transport, monkeypatch, tmp_path):
    """On one connection, without cookies, and without the user of a netrc file."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login joe password pa55word\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(reply(b"{}", "200 OK", "Set-Cookie: session=1; Path=/"))
    t = transport()
    t.once("POST", server.url + "/a/b", TOKEN, {"key": "wört"})
    t.once("POST", server.url + "/stop", {})
    first, second = (request.decode().split("\r\n") for request in server.requests)
    assert {first[0], *first[1:-2]} >= {
        "POST /a/b HTTP/1.1",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Authorization: Bearer " + SECRET,
        "Content-Type: application/json",
        f"User-Agent: capacityops.bmc_helix/{_http.VERSION}",
    }
    assert (first[-1], second[-1]) == ('{"key": "w\\u00f6rt"}', "")
    assert not [line for line in second if line.startswith(("Authorization", "Cookie"))]
    assert server.connections == 1


@pytest.mark.parametrize("location", ["/login", "https://elsewhere.invalid/x", "http://[", "\xfc\xff"])
def test_redirects_are_not_followed(serve, transport, location):
    server = serve(reply(b"", "302 Found", f"Location: {location}"))
    assert transport().once("GET", server.url + "/", TOKEN).status == 302
    assert len(server.requests) == 1


def test_the_clock_of_the_server(serve, transport):
    t = transport()
    assert t.server_time() is None
    t.once("GET", serve(reply(b"{}", "200 OK", "Date: Fri, 15 Jan 2027 09:00:00 GMT")).url, {})
    t.clock.pass_by(10)
    t.once("GET", serve().url, {})  # without a Date
    assert t.server_time() == 1800003610.0


# -- unusual responses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply(RUNNING), RUNNING),
        # BMC documents 204 as the success of a status request, and prints a body.
        (reply(RUNNING, "204 No Content"), RUNNING),
        (NO_CONTENT + b"Transfer-Encoding: chunked\r\n\r\n15\r\n" + RUNNING + b"\r\n0\r\n\r\n", RUNNING),
        (NO_CONTENT + b"\r\n", b""),
        (NO_CONTENT + b"Content-Length: 0\r\n\r\n", b""),
        (NO_CONTENT + b"Content-Length: what\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\n" + RUNNING, RUNNING),
        # Some gateways compress although the request does not allow it.
        (reply(gzip.compress(RUNNING), "200 OK", "Content-Encoding: gzip"), RUNNING),
        (reply(b"[1, 2]" * 500_000), b"[1, 2]" * 500_000),
    ],
    ids=["interim", "204", "204, chunks", "204, no body", "204, empty", "204, no number", "HTTP/1.0", "gzip", "large"],
)
def test_the_whole_body_is_read_and_nothing_is_left_to_the_next_request(serve, transport, raw, body):
    t, server = transport(), serve(raw, reply(b"next"))
    assert t.once("GET", server.url, {}).body == body
    # The server closes some of these connections, which this request can meet before it is known.
    assert t.read("GET", server.url, {}).body == b"next"


# -- responses that cannot be used ------------------------------------------------------------------------------------


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(connection):
    connection.recv(1)


def drip(head, piece):
    """The timeout of a socket starts again with every byte."""

    def script(connection):
        connection.sendall(head)
        for _number in range(100):
            connection.sendall(piece)
            time.sleep(0.05)

    return script


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (reset, "connection", "was closed before a response was received"),
        (b"", "connection", "was closed before a response was received"),
        (HEAD + b"Connection: close\r\nContent-Length: 99\r\n\r\n{", "connection", "in the middle of the response"),
        (CHUNKED + b"5\r\n{", "connection", "in the middle of the response"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "unexpected_answer", "is not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n", "unexpected_answer", "is not valid HTTP"),
        (reply(b"hello", "200 OK", "Content-Encoding: gzip"), "unexpected_answer", "cannot be decompressed"),
        (reply(b"hello", "200 OK", "Content-Encoding: br"), "unexpected_answer", "cannot be decompressed"),
        (silence, "timeout", "no complete response within 0.3 s"),
        (drip(b"", b"H"), "timeout", "no complete response within 0.3 s"),
        (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "timeout", "no complete response within 0.3 s"),
        (drip(HEAD + b"Content-Length: 9999\r\n\r\n", b" "), "timeout", "no complete response within 0.3 s"),
        (drip(HEAD + b"\r\n", b" "), "timeout", "no complete response within 0.3 s"),
        (drip(CHUNKED, b"0"), "timeout", "no complete response within 0.3 s"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:30]),
)
def test_unusable_responses(serve, transport, script, kind, words):
    server, patience, began = serve(script), 0.3 if kind == "timeout" else 5.0, time.monotonic()
    error = failure(lambda: transport(request_timeout=patience).once("POST", server.url + "/run", TOKEN, {}))
    assert (error.kind, error.method, error.path) == (kind, "POST", "/run")
    assert (error.maybe_done, error.transient) == (True, True)
    assert words in error.message
    assert server.url in error.message
    assert len(server.requests) == 1
    assert time.monotonic() - began < patience + 3


def gush(head, piece):
    def script(connection):
        connection.sendall(head)
        for _number in range(128):
            connection.sendall(piece)

    return script


@pytest.mark.parametrize(
    "script",
    [
        gush(HEAD + b"\r\n", MEGABYTE),
        gush(CHUNKED, b"100000\r\n" + MEGABYTE + b"\r\n"),
        # A line without an end.
        gush(CHUNKED, b"0" * 2**20),
        gush(CHUNKED + b"0\r\n", b"X" * 2**20),
        # The libraries read the body of a redirect by themselves.
        gush(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", MEGABYTE),
        # A bomb: 256 MiB in 256 KiB.
        reply(gzip.compress(MEGABYTE) * 256, "302 Found", "Content-Encoding: gzip", "Location: /login"),
    ],
    ids=["endless", "chunks", "chunk size", "trailer", "redirect", "bomb"],
)
def test_memory_is_bounded(serve, transport, monkeypatch, script):
    monkeypatch.setattr(_http, "MAX_BODY_BYTES", 4 * 2**20)
    server = serve(script)
    tracemalloc.start()
    try:
        error = failure(lambda: transport(request_timeout=20).once("POST", server.url, TOKEN, {}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    # The libraries end a line without an end by themselves.
    assert "is larger than 4 MiB" in error.message or "is not valid HTTP" in error.message
    assert (error.kind, error.maybe_done) == ("unexpected_answer", True)


def test_no_connection(transport, closed_port, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    refused = failure(lambda: transport().once("POST", f"http://127.0.0.1:{closed_port}/run", TOKEN))
    assert refused.message.endswith(f"http://127.0.0.1:{closed_port} failed: no connection: connection refused.")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    unresolved = failure(lambda: transport().once("POST", "https://no-such-host.test/run", TOKEN))
    assert "could not be resolved" in unresolved.message
    assert [(error.maybe_done, error.transient) for error in (refused, unresolved)] == [(False, True)] * 2


def test_an_old_failure_does_not_explain_a_new_one(serve, transport, closed_port):
    """Python links a failure that is being handled to the next one."""
    t, server, second = transport(), serve(b""), None
    try:
        t.once("GET", f"http://127.0.0.1:{closed_port}", {})
    except TransportError:
        second = failure(lambda: t.once("POST", server.url, TOKEN))
    assert "was closed before" in second.message
    assert second.maybe_done


# -- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code", "transient"),
    [
        ("https://helix.test/run", 403, False),
        ("https://helix.test/run", 407, False),
        ("https://helix.test/run", 503, True),
        ("http://helix.test/run", 407, False),
    ],
)
def test_a_proxy_that_refuses(serve, transport, url, code, transient):
    proxy = serve(reply(b"", f"{code} Sorry"))
    t = transport(proxy=f"http://joe:pa55word-of-joe@127.0.0.1:{proxy.port}")
    error = failure(lambda: t.once("POST", url, TOKEN))
    assert (error.kind, error.maybe_done, error.transient) == ("proxy", False, transient)
    assert url.startswith("http:") or SECRET.encode() not in proxy.requests[0]
    assert f" through the proxy 127.0.0.1:{proxy.port} failed: the proxy " in error.message
    assert str(code) in error.message
    assert ("http://USER:PASSWORD@HOST:PORT" in error.remedy) == (code == 407)
    assert "pa55word" not in error.sentence()


@pytest.mark.parametrize(
    ("proxy", "kind", "transient", "words"),
    [
        ("http://u:pa55word@127.0.0.1:{port}", "proxy", True, "the proxy could not be used: connection refused"),
        ("htp://u:pa55word@x", "invalid_option", False, "or the address of the proxy, is not valid"),
        ("http://[::1", "invalid_option", False, "or the address of the proxy, is not valid"),
        ("http://u:pa55wörd€@x", "invalid_option", False, "or the address of the proxy, is not valid"),
        ("socks5h://u:pa55word@x:1080", "proxy", False, "a SOCKS proxy requires the Python library PySocks"),
    ],
)
def test_a_proxy_that_cannot_be_used(transport, closed_port, monkeypatch, proxy, kind, transient, words):
    monkeypatch.setattr(_http.importlib.util, "find_spec", lambda name: None)
    error = failure(lambda: transport(proxy=proxy.format(port=closed_port)).once("POST", "https://h.test/x", {}))
    assert (error.kind, error.maybe_done, error.transient) == (kind, False, transient)
    assert words in error.message
    assert "pa55w" not in error.sentence()


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
    proxy, server, redactor = serve(), serve(), Redactor()
    # A proxy without a scheme is an HTTP proxy.
    address = f"joe:pa55word-of-joe@127.0.0.1:{proxy.port}"
    for name in environment.split():
        monkeypatch.setenv(name, "127.0.0.1" if name == "NO_PROXY" else f"http://{address}")
    transport(redactor=redactor, proxy=address if option else None).once("GET", server.url + "/x", {})
    assert (len(proxy.requests), len(server.requests)) == ((1, 0) if through else (0, 1))
    if through:
        assert proxy.requests[0].startswith(f"GET {server.url}/x".encode())
        assert "pa55word" not in redactor.text("pa55word-of-joe")


# -- TLS: what tests/functional/test_network_tls.py cannot provoke ----------------------------------------------------


def handshake(reason, kind=ssl.SSLError):
    error = kind(1, f"[SSL: {reason}] something (_ssl.c:1000)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "transient", "words"),
    [
        (handshake("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "tls", False, "tlsv13 alert certificate required"),
        (handshake(""), "tls", False, "no reason given"),
        (handshake("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), "connection", True, "was closed"),
        (handshake("UNEXPECTED_EOF_WHILE_READING"), "connection", True, "was closed"),
        (handshake("", ssl.SSLZeroReturnError), "connection", True, "was closed"),
    ],
)
def test_failures_of_tls(transport, error, kind, transient, words):
    explained = transport()._explained(error, "POST", "https://helix.test/run", None)
    assert (explained.kind, explained.maybe_done, explained.transient) == (kind, True, transient)
    assert words in explained.message
    assert "_ssl.c" not in explained.sentence()


@pytest.mark.parametrize(
    "page", ["No required SSL certificate was sent", "The plain HTTP request was sent to HTTPS port"]
)
def test_nginx_reports_the_handshake_in_a_page(serve, transport, page):
    server = serve(reply(f"<title>400 {page}</title>".encode(), "400 Bad Request"))
    error = failure(lambda: transport().once("POST", server.url + "/run", TOKEN))
    assert (error.kind, error.maybe_done, error.transient) == ("tls", False, False)
    assert page in error.message


def test_a_page_of_one_long_word_is_read_at_once(serve, transport):
    server = serve(reply(b"x" * 3_000_000, "400 Bad Request"))
    assert transport().once("POST", server.url + "/run", TOKEN).status == 400


# -- reads are retried ------------------------------------------------------------------------------------------------

LOST = TransportError("lost", transient=True, remedy="Again.")
FINAL = TransportError("refused for good", transient=False, remedy="Fix it.")


@pytest.mark.parametrize(
    ("replies", "retries", "count", "result"),
    [
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
def test_when_a_read_is_retried(replies, retries, count, result):
    t = FakeTransport(Script(*replies), retries=retries)
    if isinstance(result, str):
        with pytest.raises(TransportError, match=result):
            t.read("GET", "https://helix.test/x", {})
    else:
        assert t.read("GET", "https://helix.test/x", {}).status == result
    assert len(t.exchanges) == count
    assert len(t.clock.slept) == count - 1


def test_limits_of_retries():
    t = FakeTransport(Script(answer(502)), retries=3)
    t.read("GET", "https://helix.test/x", {}, retries=0)
    assert len(t.exchanges) == 1, "the caller can set the number of retries"
    t = FakeTransport(Script(answer(429, Retry_After="25"), answer(200)))
    t.read("GET", "https://helix.test/x", {})
    assert 25 <= t.clock.slept[0] <= 26
    t = FakeTransport(Script(answer(429, Retry_After="25"), answer(200)))
    assert t.read("GET", "https://helix.test/x", {}, deadline=t.clock.now() + 24).status == 429
    assert t.clock.slept == []
    t = FakeTransport(Script(LOST), retries=20)
    deadline = t.clock.now() + 10
    with pytest.raises(TransportError, match="lost"):
        t.read("GET", "https://helix.test/x", {}, deadline=deadline)
    assert len(t.exchanges) > 2
    assert t.clock.now() <= deadline


NOW, LATER = "Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 08:00:30 GMT"


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        *((" 7 ", None, 7.0), ("0", None, 0.0), ("86400", None, 60.0), ("9" * 400, None, 60.0)),
        *((text, None, None) for text in ("-5", "1.5", "²", "")),
        (LATER, NOW, 30.0),
        (NOW, LATER, 0.0),
        ("Fri, 15 Jan 2027 09:00:00 GMT", NOW, 60.0),
        (LATER, None, None),
    ],
)
def test_retry_after(text, date, seconds):
    assert Answer(429, {"RETRY-after": text, **({"date": date} if date else {})}, b"").retry_after() == seconds


def test_pauses_grow_and_are_spread():
    assert all(0 < backoff(attempt) <= 30 for attempt in range(2000))
    assert 0.25 <= backoff(0) <= 0.5
    assert 15 <= backoff(9) <= 30
    assert len({backoff(5) for _number in range(20)}) > 10
    assert 12 <= backoff(3, 12.0) <= 12.5


# -- bodies -----------------------------------------------------------------------------------------------------------


def read_body(body):
    return decoded(Answer(200, {}, body), "GET", "https://helix.test/x", Redactor())


def test_bodies():
    assert read_body(b"") is read_body(b"\r\n") is None
    # Half of a character can neither be printed nor sent.
    read_body(b'{"name": "a\\ud800b"}')["name"].encode("utf-8")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><h1>Sign in</h1></html>", "with a web page instead of JSON: 'Sign in'"),
        (b"ETL not found", "with data that is not JSON: 'ETL not found'"),
        *((body, "not JSON") for body in (b'{"a": NaN}', b'{"a": 1e999}', b"\xff\xfe\x00", b"[" * 100000)),
    ],
)
def test_bodies_that_are_no_json(body, words):
    with pytest.raises(AnswerError) as caught:
        read_body(body)
    assert words in caught.value.message
    assert (caught.value.path, caught.value.maybe_done, caught.value.transient) == ("/x", True, True)
