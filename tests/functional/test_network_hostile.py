# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that no honest server gives: each ends in one clear sentence, in bounded time and memory."""

from __future__ import annotations

import gzip
import json
import resource
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AnswerError,
    HelixError,
    TransportError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import MAX_BODY_BYTES, Clock, Transport
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import Credentials, TokenSource

from tests.functional.network.servers import RawServer, Script, answer

TOKEN = "opaqueTokenOfTheseTests0123456789"
OK_RUN = b'{"task_execution_request_id": 7, "request_status": "OK"}'
PATIENCE = 1.0
MEGABYTE = 1024 * 1024


def api_for(server: RawServer, **options: Any) -> HelixApi:
    transport = Transport(clock=Clock(), redactor=Redactor(), **{"request_timeout": PATIENCE, "retries": 0, **options})
    return HelixApi(transport, TokenSource(transport, server.url, Credentials(token=TOKEN)), server.url)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    started: list[RawServer] = []

    def start(*scripts: Script) -> RawServer:
        server = RawServer(*scripts)
        server.__enter__()
        started.append(server)
        return server

    yield start
    for server in started:
        server.__exit__()


def run_against(server: RawServer, patience: float = PATIENCE) -> HelixError:
    """Send a run request and return how it failed; whatever happens, once and without the token in a text."""
    api = api_for(server, request_timeout=patience)
    began = time.monotonic()
    try:
        with pytest.raises(HelixError) as caught:
            api.act("run", 321)
    finally:
        api.transport.close()
    error = caught.value
    assert time.monotonic() - began < 2 * patience + 3
    assert len([r for r in server.requests if r.startswith(b"POST")]) == 1
    assert error.remedy
    assert error.message.count("\n") == 0
    assert len(error.message) < 400
    assert TOKEN not in f"{error.message}{error.remedy}{error.facts()}"
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error


def drip(head: bytes, piece: bytes, pause: float = 0.1) -> Callable[[Any], None]:
    """Send something, then one piece again and again, never stopping."""

    def send(connection: Any) -> None:
        connection.sendall(head)
        for _number in range(600):
            connection.sendall(piece)
            time.sleep(pause)

    return send


def gush(head: bytes, piece: bytes, times: int) -> Callable[[Any], None]:
    def send(connection: Any) -> None:
        connection.sendall(head)
        for _number in range(times):
            connection.sendall(piece)

    return send


ZEROS = b" " * MEGABYTE
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "script",
    [
        drip(b"", b"H"),
        drip(b"HTTP/1.1 200 OK\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X-Again: yes\r\n", 0.2),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(PLAIN + b"Content-Length: 9999\r\n\r\n", b" "),
        drip(PLAIN + b"\r\n", b" "),
        drip(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        drip(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        drip(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: yes\r\n"),
    ],
    ids=[
        "status line",
        "header",
        "headers",
        "interim answers",
        "body",
        "body to the end",
        "chunks",
        "chunk size",
        "trailer",
    ],
)
def test_dripping(serve: Callable[..., RawServer], script: Script) -> None:
    """The time-out of a socket starts anew with every byte; ours does not."""
    error = run_against(serve(script))
    assert error.kind == "timeout"
    assert "no complete response within" in error.message
    assert "request_timeout" in error.remedy
    assert (error.maybe_done, error.transient) == (True, True)


@pytest.mark.parametrize(
    "script",
    [
        gush(PLAIN + b"\r\n", ZEROS, 200),
        gush(PLAIN + b"Content-Length: 1073741824\r\n\r\n", ZEROS, 200),
        gush(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + ZEROS + b"\r\n", 200),
        gush(PLAIN + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n", ZEROS, 200),
        # In most versions of the libraries nothing bounds these two: a line of a chunked body may have any length.
        gush(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * MEGABYTE, 200),
        gush(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X" * MEGABYTE, 200),
        # A body that the libraries read and unpack by themselves when they are told not to follow.
        gush(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", ZEROS, 200),
    ],
    ids=["endless", "announced", "chunks", "one chunk", "chunk size", "trailer", "redirect"],
)
def test_gushing(serve: Callable[..., RawServer], script: Script) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = run_against(serve(script), patience=20)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert error.kind in ("unexpected_answer", "connection"), error.message
    # The newest libraries stop by themselves at a line that never ends.
    assert "larger than 32 MiB" in error.message or error.kind in ("unexpected_answer", "connection")
    assert error.maybe_done
    assert grown < 4 * MAX_BODY_BYTES / MEGABYTE, f"{grown:.0f} MiB"


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A quarter of a gigabyte in a quarter of a megabyte."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packer.compress(ZEROS) for _number in range(256)) + packer.flush()


@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
def test_bomb(serve: Callable[..., RawServer], bomb: bytes, status: str) -> None:
    """Sent though nothing compressed was asked for."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    server = serve(answer(bomb, status, ["Content-Encoding: gzip", "Location: /login"]))
    error = run_against(server, patience=20)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert "larger than 32 MiB" in error.message
    assert grown < 4 * MAX_BODY_BYTES / MEGABYTE, f"{grown:.0f} MiB"
    assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize("wrap", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_compressed_all_the_same(serve: Callable[..., RawServer], wrap: Callable[[bytes], bytes]) -> None:
    """Some gateways compress whatever one asks for."""
    name = "gzip" if wrap is gzip.compress else "deflate"
    server = serve(answer(wrap(OK_RUN), headers=[f"Content-Encoding: {name}"]))
    assert api_for(server).act("run", 321).task_execution_request_id == 7


@pytest.mark.parametrize(
    ("script", "sentence", "kind"),
    [
        (b"", "was closed before a response was received", "connection"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "the response is not valid HTTP", "unexpected_answer"),
        (b"HTTP/9.9 200 OK\r\n\r\n", "the response is not valid HTTP", "unexpected_answer"),
        (b"HTTP/1.1 two OK\r\n\r\n", "the response is not valid HTTP", "unexpected_answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n", "the response is not valid HTTP", "unexpected_answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "the response is not valid HTTP", "unexpected_answer"),
        (PLAIN + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n12345", "", ""),
        (
            PLAIN + b"Connection: close\r\nContent-Length: 500\r\n\r\n{",
            "was closed in the middle of the response",
            "connection",
        ),
        (PLAIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", "was closed in the middle of the response", "connection"),
        (PLAIN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "was closed in the middle of the response", "connection"),
        (answer(b"not gzip", headers=["Content-Encoding: gzip"]), "the response cannot be decompressed", None),
        (answer(b"x", headers=["Content-Encoding: br"]), "the response cannot be decompressed", None),
        (answer(OK_RUN + b"trailing"), "data that is not JSON", "unexpected_answer"),
        (answer(b"[" * 200000), "data that is not JSON", "unexpected_answer"),
        (answer(b'{"a":' * 100000), "data that is not JSON", "unexpected_answer"),
        (answer(b"\xff\xfe\x00"), "data that is not JSON", "unexpected_answer"),
        (answer('{"request_status": "für"}'.encode("latin-1")), "data that is not JSON", "unexpected_answer"),
        (answer(b'{"request_status": NaN}'), "data that is not JSON", "unexpected_answer"),
        (answer(b'{"request_status": 1e999}'), "data that is not JSON", "unexpected_answer"),
        (answer(b'{"request_status": Infinity}'), "data that is not JSON", "unexpected_answer"),
        (answer(b"<html><body>Please sign in"), "a web page instead of JSON: 'Please sign in'", "unexpected_answer"),
        (answer(b"9" * 10000), "", "unexpected_answer"),
        (answer(b""), "JSON of an unexpected shape (nothing)", "unexpected_answer"),
        (answer(b"", "103 Early Hints"), "", ""),
        (answer(b"", "407 Proxy Authentication Required"), "HTTP 407", None),
        (answer(b"", "999 What"), "HTTP 999", None),
    ],
)
def test_nonsense(serve: Callable[..., RawServer], script: bytes, sentence: str, kind: str) -> None:
    error = run_against(serve(script))
    assert sentence in error.message
    if kind:
        assert error.kind == kind
    # The request reached the server: unless the answer is a decision, it may have been carried out.
    assert error.maybe_done or error.http_status == 407


@pytest.mark.parametrize(
    "script",
    [
        b"\xef\xbb\xbf" + OK_RUN,
        OK_RUN + b"\n\n",
        b'{"request_status": "ok", "task_execution_request_id": "7", "x": "\\ud800", "y": 1e5}',
    ],
    ids=["byte order mark", "blank lines", "half a character"],
)
def test_odd_but_good(serve: Callable[..., RawServer], script: bytes) -> None:
    assert api_for(serve(answer(script))).act("run", 321).task_execution_request_id == 7


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\n\r\n" + OK_RUN,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(OK_RUN),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + answer(OK_RUN),
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answer(OK_RUN),
        PLAIN + b"Content-Length: what\r\nConnection: close\r\n\r\n" + OK_RUN,
        PLAIN + b"Content-Length: -5\r\nConnection: close\r\n\r\n" + OK_RUN,
        answer(OK_RUN, headers=["Date: Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]),
        answer(OK_RUN, headers=["X-Latin: \xfc\xdf", "X-Empty:"]),
    ],
    ids=["HTTP/1.0", "100", "103", "102 and 103", "length no number", "length negative", "date", "header in latin-1"],
)
def test_unusual_http(serve: Callable[..., RawServer], raw: bytes) -> None:
    server = serve(raw)
    assert api_for(server).act("run", 321).task_execution_request_id == 7
    assert len(server.requests) == 1


def test_interim_answer_does_not_shift_the_answers(serve: Callable[..., RawServer]) -> None:
    """Taken for an answer, it would leave the real one to the next request: a status would be read from a run."""
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    server = serve(hints + answer(OK_RUN), answer(b'{"status": "RUNNING", "task_id": 321}'))
    api = api_for(server)
    assert api.act("run", 321).request_status == "OK"
    assert api.status(321).state == "RUNNING"


RUNNING = b'{"status": "RUNNING", "task_id": 321}'


@pytest.mark.parametrize(
    "raw",
    [
        answer(RUNNING, "204 No Content"),
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n25\r\n" + RUNNING + b"\r\n0\r\n\r\n",
    ],
    ids=["length", "chunks"],
)
def test_a_status_in_the_body_of_a_204(serve: Callable[..., RawServer], raw: bytes) -> None:
    """The vendor's page names 204 as the success of a status request, and prints its body. Unread, a run that is
    under way would look like an ETL that never ran."""
    server = serve(raw, answer(b'{"status": "ENDED", "task_id": 321}'))
    # The server hangs up after chunks, which the second look may meet before it is known.
    api = api_for(server, retries=1)
    assert api.status(321).state == "RUNNING"
    assert api.status(321).state == "ENDED"


@pytest.mark.parametrize("length", ["", "Content-Length: 0\r\n", "Content-Length: what\r\n"])
def test_a_204_without_a_body(serve: Callable[..., RawServer], length: str) -> None:
    server = serve(f"HTTP/1.1 204 No Content\r\n{length}\r\n".encode())
    assert api_for(server).status(321).state == "none"


@pytest.mark.parametrize(
    "location",
    ["https://elsewhere.invalid/x", "/login", "//elsewhere.invalid", "\xfc\xff", "http://[", "", "https://u:p@x/"],
)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(serve: Callable[..., RawServer], status: str, location: str) -> None:
    server = serve(answer(b"", status, [f"Location: {location}"]))
    error = run_against(server)
    assert error.kind == "redirected"
    assert "to avoid sending the token to another host" in error.message
    assert len(server.requests) == 1
    assert not error.maybe_done or error.http_status


def test_numbers_that_are_none(serve: Callable[..., RawServer]) -> None:
    """A list whose ids cannot be counted with."""
    for text in ('[{"etl_id": 1e400}]', '[{"etl_id": NaN}]', '[{"etl_id": {}}]', '[{"etl_id": "x"}]'):
        server = serve(answer(text.encode()))
        with pytest.raises(AnswerError):
            api_for(server).list_etls()


def test_old_failure_does_not_explain_a_new_one(serve: Callable[..., RawServer]) -> None:
    """Python hangs a failure that is being handled behind a new one: a lost answer is no refused connection."""
    gone = RawServer(b"")
    with gone:
        pass
    server = serve(b"")

    def act_after_a_failure() -> None:
        try:
            api_for(gone).list_etls()
        except HelixError:
            api_for(server).act("run", 321)

    with pytest.raises(TransportError) as caught:
        act_after_a_failure()
    assert "was closed before a response was received" in caught.value.message
    assert caught.value.maybe_done


def test_half_a_secret_at_the_cut_is_not_shown() -> None:
    """Only the first part of a long page is looked at; a secret across that border must not show its half."""
    secret = "aLongSecretWithoutAnyPattern" * 4
    redactor = Redactor()
    redactor.add(secret)
    borders = (64 * 1024, 80 * 1024)
    for length in (border + shift for border in borders for shift in range(-120, 20, 14)):
        shown = redactor.text("<" + "!" * 400 + ">" + "<p>" * ((length - 402) // 3) + secret + "<p>" * 9000)
        assert "aLongSecret" not in shown


def test_body_is_json_of_its_own_size(serve: Callable[..., RawServer]) -> None:
    """A large honest list is read."""
    etls = [{"etl_id": n, "name": f"ETL {n}", "run_configurations": []} for n in range(1, 20001)]
    server = serve(answer(json.dumps(etls).encode()))
    assert len(api_for(server, request_timeout=20).list_etls()) == 20000
