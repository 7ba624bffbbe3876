# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every fault of the simulator does what it promises, and the work was done or not as promised."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.client import Control, SimulatorError, SimulatorProcess
from tests.simulator.probe import ETLS, Probe, Reply

CUT = (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module", params=["https", "http"])
def sim(request: pytest.FixtureRequest) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(https=request.param == "https") as process:
        yield process


@pytest.fixture
def control(sim: SimulatorProcess) -> Control:
    sim.control.reset()
    sim.control.speed(0)
    sim.control.put_etl(321, state="ENDED")
    return sim.control


@pytest.fixture
def api(sim: SimulatorProcess, control: Control) -> Iterator[Probe]:
    probe = Probe(sim)
    probe.login()
    yield probe
    probe.close()


def launches(control: Control) -> int:
    return len(control.executions(321))


def run_with(control: Control, api: Probe, kind: str, **parameters: Any) -> Reply:
    control.fault({"exchange": "run"}, {"kind": kind, **parameters})
    return api.run(321)


def entry_of_run(control: Control) -> dict[str, Any]:
    entry: dict[str, Any] = control.requests(exchange="run")[0]
    return entry


# --- connections that break ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "work"), [("reset_before", 0), ("reset_after", 1)])
def test_reset(control: Control, api: Probe, kind: str, work: int) -> None:
    with pytest.raises(CUT):
        run_with(control, api, kind)
    assert launches(control) == work
    entry = entry_of_run(control)
    assert (entry["status"], entry["fault"], entry["accepted"]) == ("reset", kind, bool(work))
    assert api.status(321).status == 200, "the next request has a connection of its own"


def test_reset_is_a_tcp_reset(sim: SimulatorProcess, control: Control) -> None:
    if sim.ca_file:
        pytest.skip("seen through TLS it is an end without a goodbye")
    control.fault({}, {"kind": "reset_before"})
    host, port = sim.url.split("//")[1].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"GET {ETLS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize(("work", "count"), [(None, 1), (False, 0)])
def test_cut_json(control: Control, api: Probe, work: bool | None, count: int) -> None:
    with pytest.raises((http.client.IncompleteRead, *CUT)):
        run_with(control, api, "cut_json", work=work)
    assert launches(control) == count


def test_slow_before_nothing(control: Control, api: Probe) -> None:
    begin = time.monotonic()
    with pytest.raises(CUT):
        run_with(control, api, "slow_before_nothing", seconds=0.1)
    assert time.monotonic() - begin >= 0.1
    assert launches(control) == 0
    assert entry_of_run(control)["status"] == "closed"


def test_raw(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "raw", text="HTTP/1.1 299 Odd\r\nX-Odd: yes\r\n\r\nrest")
    assert (reply.status, reply.headers["X-Odd"], reply.body) == (299, "yes", b"rest")
    assert launches(control) == 1
    with pytest.raises((http.client.BadStatusLine, *CUT)):
        run_with(control, api, "raw", text="no HTTP at all\r\n", work=False)
    assert launches(control) == 1


# --- slowness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slow", "slow_after", "slow_body"])
def test_slow(control: Control, api: Probe, kind: str) -> None:
    begin = time.monotonic()
    reply = run_with(control, api, kind, seconds=0.15)
    assert time.monotonic() - begin >= 0.14
    assert reply.json["request_status"] == "OK"
    assert launches(control) == 1


@pytest.mark.parametrize("kind", ["slow", "slow_after"])
def test_client_that_gives_up_may_have_been_heard(
    sim: SimulatorProcess, control: Control, api: Probe, kind: str
) -> None:
    hasty = Probe(sim, timeout=0.3)
    hasty.token = api.token
    with pytest.raises(TimeoutError):
        run_with(control, hasty, kind, seconds=1)
    if kind == "slow":
        assert launches(control) == 0
    control.wait_until(lambda c: launches(c) == 1)


def test_others_are_served_meanwhile(sim: SimulatorProcess, control: Control, api: Probe) -> None:
    control.fault({"exchange": "run"}, {"kind": "slow", "seconds": 5})
    hasty = Probe(sim, timeout=0.1)
    hasty.token = api.token
    with pytest.raises(TimeoutError):
        hasty.run(321)
    begin = time.monotonic()
    assert api.status(321).status == 200
    assert time.monotonic() - begin < 4


# --- answers that are wrong ---------------------------------------------------------------------------------------


def test_status(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "status")
    assert (reply.status, reply.body) == (503, b"")
    reply = run_with(control, api, "status", code=429, body="Slow down", retry_after=7, headers={"X-Limit": "1"})
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (429, b"Slow down", "text/plain")
    assert (reply.headers["Retry-After"], reply.headers["X-Limit"]) == ("7", "1")
    reply = run_with(control, api, "status", code=500, body={"error": "Error"})
    assert (reply.json, reply.headers["Content-Type"]) == ({"error": "Error"}, "application/json")
    reply = run_with(control, api, "status", code=502, body="<p>", content_type="text/html")
    assert reply.headers["Content-Type"] == "text/html"
    assert run_with(control, api, "status", code=204).status == 204
    assert launches(control) == 0


def test_retry_after_as_a_date(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "status", retry_after_date=90)
    dates = [email.utils.parsedate_to_datetime(reply.headers[name]) for name in ("Date", "Retry-After")]
    assert (dates[1] - dates[0]).total_seconds() == 90


def test_accept_then_status(control: Control, api: Probe) -> None:
    assert run_with(control, api, "accept_then_status").status == 502
    assert launches(control) == 1
    entry = entry_of_run(control)
    assert (entry["status"], entry["accepted"], entry["fault"]) == (502, True, "accept_then_status")


def test_work_can_be_turned_round(control: Control, api: Probe) -> None:
    assert run_with(control, api, "status", code=500, work=True).status == 500
    assert launches(control) == 1
    control.put_etl(321)
    assert run_with(control, api, "accept_then_status", work=False).status == 502
    assert launches(control) == 1


def test_html(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "html_200")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
    assert b"Sign in" in reply.body
    assert run_with(control, api, "html_200", body="<p>mine</p>").body == b"<p>mine</p>"
    assert launches(control) == 0


@pytest.mark.parametrize("shape", [None, 42, [1], "text", {"other": True}])
def test_wrong_shape(control: Control, api: Probe, shape: Any) -> None:
    assert run_with(control, api, "wrong_shape", body=shape).json == (42 if shape is None else shape)
    assert launches(control) == 1


def test_redirect(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "redirect", location="https://elsewhere.invalid/x", code=307)
    assert (reply.status, reply.headers["Location"]) == (307, "https://elsewhere.invalid/x")
    assert run_with(control, api, "redirect").status == 302
    assert launches(control) == 0


def test_huge(control: Control, api: Probe) -> None:
    reply = run_with(control, api, "huge", bytes=3 * MEGABYTE)
    assert "Content-Length" not in reply.headers
    assert len(reply.body) == 3 * MEGABYTE
    assert json.loads(reply.body) == []
    reply = run_with(control, api, "huge", bytes=3 * MEGABYTE, gzip=True)
    assert len(reply.body) < MEGABYTE / 10
    assert len(gzip.decompress(reply.body)) == 3 * MEGABYTE
    assert launches(control) == 0


def test_client_may_leave_a_huge_body(sim: SimulatorProcess, control: Control, api: Probe) -> None:
    control.fault({"exchange": "status"}, {"kind": "huge"})
    connection = api._connect()
    connection.request("GET", f"{ETLS}321/status")
    assert connection.getresponse().read(MEGABYTE).startswith(b"[")
    api.close()
    begin = time.monotonic()
    assert api.status(321).status == 200
    assert time.monotonic() - begin < 10


def test_echo_secrets(sim: SimulatorProcess, control: Control, api: Probe) -> None:
    control.fault({"exchange": "login"}, {"kind": "echo_secrets", "code": 401})
    reply = api.login()
    assert reply.status == 401
    assert sim.access_secret_key in reply.body.decode()
    assert api.token is not None
    assert api.token in run_with(control, api, "echo_secrets").body.decode()
    assert launches(control) == 0


# --- the script ---------------------------------------------------------------------------------------------------


def test_skip_times_and_order(control: Control, api: Probe) -> None:
    control.fault({"exchange": "status"}, {"kind": "status", "code": 501}, skip=1, times=2)
    control.fault({"exchange": "read", "etl_id": 321}, {"kind": "status", "code": 502}, times=1)
    control.fault({"exchange": "status"}, {"kind": "status", "code": 503}, skip=2, times=-1)
    assert [api.status(321).status for _number in range(8)] == [502, 501, 501, 200, 200, 503, 503, 503]
    assert api.list().status == 200
    assert [(rule["hits"], rule["passed"], rule["spent"]) for rule in control.faults()] == [
        (2, 1, True),
        (1, 0, True),
        (3, 2, False),
    ]
    control.clear_faults()
    assert api.status(321).status == 200


def test_match(control: Control, api: Probe) -> None:
    control.put_etl(322)
    control.fault({"exchange": ["stop", "kill"], "etl_id": 322}, {"kind": "status"}, times=-1)
    replies = [api.stop(321), api.kill(321), api.stop(322), api.kill(322), api.run(322)]
    assert [reply.status for reply in replies] == [200, 200, 503, 503, 200]


@pytest.mark.parametrize(
    ("exchange", "statuses"),
    [
        ("any", [503, 503, 503, 503]),
        ("auth", [503, 200, 200, 200]),
        ("api", [200, 503, 503, 503]),
        ("read", [200, 503, 503, 200]),
        ("write", [200, 200, 200, 503]),
    ],
)
def test_groups_of_exchanges(control: Control, api: Probe, exchange: str, statuses: list[int]) -> None:
    control.fault({"exchange": exchange}, {"kind": "status"}, times=-1)
    assert [reply.status for reply in (api.login(), api.list(), api.status(321), api.run(321))] == statuses


def test_fault_hits_before_the_token_is_looked_at(control: Control, api: Probe) -> None:
    api.token = None
    assert run_with(control, api, "status").status == 503
    assert run_with(control, api, "accept_then_status").status == 502
    assert launches(control) == 0, "the work was to refuse it"


def test_one_rule_can_be_removed(control: Control, api: Probe) -> None:
    first = control.fault({}, {"kind": "status", "code": 501}, times=-1)
    control.fault({}, {"kind": "status", "code": 502}, times=-1)
    control.call("DELETE", f"/faults/{first['id']}")
    assert api.list().status == 502
    with pytest.raises(SimulatorError, match="no fault rule"):
        control.call("DELETE", f"/faults/{first['id']}")


def test_control_is_never_hit(control: Control) -> None:
    control.fault({"exchange": "any"}, {"kind": "reset_before"}, times=-1)
    control.outage(1000)
    control.configure(latency_ms=5000)
    begin = time.monotonic()
    assert control.status(321)["state"] == "ENDED"
    assert time.monotonic() - begin < 4
    assert control.requests() == []


# --- outage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "status"), [("503", 503), ("502", 502)])
def test_outage_with_a_status(control: Control, api: Probe, mode: str, status: int) -> None:
    control.outage(30, mode)
    assert [api.status(321).status, api.login().status] == [status, status]
    control.advance(29)
    assert api.run(321).status == status
    control.advance(1)
    assert api.status(321).status == 200
    assert launches(control) == 0


def test_outage_with_resets(control: Control, api: Probe) -> None:
    control.outage(30)
    with pytest.raises(CUT):
        api.run(321)
    entry = entry_of_run(control)
    assert (entry["status"], entry["fault"]) == ("reset", "outage")
    control.advance(30)
    assert api.run(321).status == 200
    assert launches(control) == 1
