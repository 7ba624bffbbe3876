# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract of the simulator: what its settings, faults, control calls, and command line do.

`make fuzz` checks its responses against docs/openapi, and test_tenant_info.py that it can behave like a profile.
"""

from __future__ import annotations

import email.utils
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
import yaml

from tests.simulator import control as control_module
from tests.simulator.__main__ import main
from tests.simulator.api import ETLS, LOGIN, REFRESH
from tests.simulator.client import Control, SimulatorError, SimulatorProcess
from tests.simulator.settings import Behavior, fields_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "simulator"
ACTIONS = ("run", "schedule", "stop", "kill")
EMPTY: dict[str, Any] = {"run_execution_properties": {}}


class Api(requests.Session):
    """A client of the API that keeps one connection and its token."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        super().__init__()
        self.trust_env = False
        self.simulator = simulator
        self.headers.update({"Accept": "application/json", "Content-Type": "application/json"})

    def call(self, method: str, path: str, body: Any = None, timeout: Any = 30, **headers: Any) -> requests.Response:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        url, sent = self.simulator.url + path, {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(method, url, data=content, allow_redirects=False, timeout=timeout, headers=sent)

    def login(self, **changes: Any) -> requests.Response:
        keys = {"access_key": self.simulator.access_key, "access_secret_key": self.simulator.access_secret_key}
        reply = self.call("POST", LOGIN, {**keys, **changes})
        if reply.status_code == 200:
            self.headers["Authorization"] = f"Bearer {reply.json()['json_web_token']}"
        return reply

    def list(self, **headers: Any) -> requests.Response:
        return self.call("GET", f"{ETLS}/", **headers)

    def status(self, etl_id: Any = 321) -> requests.Response:
        return self.call("GET", f"{ETLS}/{etl_id}/status")

    def act(self, action: str, etl_id: Any = 321, timeout: Any = 30, **properties: Any) -> requests.Response:
        body = {"run_execution_properties": properties} if action in ("run", "schedule") else None
        return self.call("POST", f"{ETLS}/{etl_id}/{action}", body, timeout)

    def shown(self, etl_id: int = 321) -> tuple[Any, Any]:
        status = self.status(etl_id).json()
        return status["status"], status["exit_code"]


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(https=False, speed=0) as process:
        yield process


@pytest.fixture
def control(sim: SimulatorProcess) -> Control:
    """A fresh server whose clock is stopped."""
    sim.control.reset()
    sim.control.configure(token_life=10**9)
    return sim.control


@pytest.fixture
def api(sim: SimulatorProcess, control: Control) -> Iterator[Api]:
    with Api(sim) as client:
        client.login()
        yield client


def codes(*replies: requests.Response) -> list[int]:
    return [reply.status_code for reply in replies]


# --- keys and tokens --------------------------------------------------------------------------------------------------


def test_keys(api: Api, control: Control) -> None:
    key = api.simulator.access_key
    assert codes(api.login(access_secret_key="wrong"), api.login(access_key=["a", "list"])) == [401, 401]
    assert codes(api.login(tenant_id="1234567890"), api.login(tenant_id="another")) == [200, 404]
    assert api.call("POST", LOGIN, b"[]").status_code == 400
    control.put_key(key, active=False)
    assert codes(api.login(), api.list()) == [401, 200], "an issued JWT stays valid"
    control.put_key(key, active=True, expires_in=60, revoke=True)
    assert codes(api.list(), api.login()) == [401, 200]
    control.advance(60)
    assert api.login().status_code == 401
    control.put_key(key, expires_in=None, secret="another", grace=60)
    assert codes(api.login(), api.login(access_secret_key="another")) == [200, 200]
    control.advance(61)
    assert codes(api.login(), api.login(access_secret_key="another")) == [401, 200]
    control.put_key("second", secret="its secret", permissions=["read"])
    assert api.login(access_key="second", access_secret_key="its secret").json()["principal_id"] == "second"
    control.put_etl(321)
    assert codes(api.list(), api.status(), api.act("run")) == [200, 200, 403]
    control.configure(forbidden_code=401, tenant_required=True)
    control.put_key("second", permissions=["write"])
    assert codes(api.list(), api.status(), api.act("run"), api.login()) == [401, 401, 200, 404]


def test_tokens(api: Api, control: Control) -> None:
    control.configure(token_life=900)
    claims = jwt.decode(api.login().json()["json_web_token"], options={"verify_signature": False})
    assert (claims["exp"] - claims["iat"], claims["iat"]) == (900, int(control.clock()["now"]))
    control.advance(899)
    assert api.list().status_code == 200
    control.advance(1)
    assert (api.list().status_code, control.counters()["unauthorized"]) == (401, 1)
    control.configure(jwt_exp=False)
    token = api.login().json()["json_web_token"]
    assert "exp" not in jwt.decode(token, options={"verify_signature": False})
    for authorization in (None, "Bearer", f"Bearer {token[:-9]}{token[-9:][::-1]}", "Basic dXNlcjpwYXNz"):
        assert api.list(Authorization=authorization).status_code == 401
    control.configure(jwt_opaque=True)
    assert "." not in api.login().json()["json_web_token"]
    assert api.list().status_code == 200
    control.revoke_tokens()
    assert api.list().status_code == 401


def test_refresh(api: Api, control: Control) -> None:
    token = api.login().json()["token"]
    for mode, status in (("works", 200), ("refused", 401), ("absent", 404), ("rotates", 200), ("rotates", 401)):
        control.configure(refresh_mode=mode)
        reply = api.call("POST", REFRESH, {"token": token})
        assert (reply.status_code, "token" in reply.json()) == (status, (mode, status) == ("rotates", 200))
    control.configure(refresh_mode="works")
    token = api.login().json()["token"]
    for refresh_too, status in ((False, 200), (True, 401)):
        control.revoke_tokens(refresh_too)
        assert api.call("POST", REFRESH, {"token": token}).status_code == status


# --- requests and answers ---------------------------------------------------------------------------------------------


def test_form_of_requests(api: Api, control: Control) -> None:
    control.put_etl(321)
    assert codes(api.list(Accept=None), api.list(Accept="application/json, text/plain")) == [400, 400]
    control.configure(strict_accept=False)
    assert api.list(Accept="*/*").status_code == 200
    run = f"{ETLS}/321/run"
    assert api.call("POST", run, EMPTY, Content_Type="text/plain").status_code == 415
    assert api.call("POST", run, EMPTY, Content_Type="application/json; charset=utf-8").status_code == 200
    control.configure(strict_content_type="all")
    assert api.list(Content_Type=None).status_code == 415
    assert codes(*(api.call("GET", path) for path in (run, f"{ETLS}/321", f"{ETLS}/321/status/"))) == [405, 404, 404]
    for mode, body, status in (
        *(("strict", EMPTY, 200), ("strict", {}, 400), ("strict", None, 400)),
        *(("lenient", None, 200), ("lenient", {}, 200), ("filled", EMPTY, 400)),
    ):
        control.configure(run_body=mode)
        assert api.call("POST", f"{ETLS}/321/schedule", body).status_code == status, (mode, body)
        assert control.requests(exchange="schedule")[-1]["accepted"] == (status == 200)
    assert api.call("POST", f"{ETLS}/321/stop", {}).status_code == 400
    control.configure(stop_body="ignored")
    assert api.call("POST", f"{ETLS}/321/stop", {}).status_code == 200


def test_list_and_unknown_etls(api: Api, control: Control) -> None:
    control.put_etl(53, name="VMware")
    control.put_etl(54, listed=False)
    control.put_etl(55, name="\x1b]52;c;eA==\x07", run_configurations=[])
    configurations = [{"name": "Default", "active": True, "run_configuration_id": 1053}]
    assert api.list().json() == [
        {"name": "VMware", "etl_id": 53, "run_configurations": configurations},
        {"name": "\x1b]52;c;eA==\x07", "etl_id": 55, "run_configurations": []},
    ]
    for mode, status in (("redirect", 301), ("not_found", 404), ("served", 200)):
        control.configure(list_without_slash=mode)
        assert api.call("GET", ETLS).status_code == status
    for style, text in (("json", '{"error": "ETL not found"}'), ("text", "ETL not found"), ("empty", "")):
        control.configure(not_found_style=style, not_found_code=404, not_found_type="text/x-odd")
        for reply in (api.status(9), api.status("x"), *(api.act(action, 9) for action in ACTIONS)):
            assert (reply.status_code, reply.headers["Content-Type"], reply.text) == (404, "text/x-odd", text)
    assert api.status(54).status_code == 200


def test_no_value(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.put_etl(322)
    for style, text in {
        "empty_string": '{"status": "", "task_id": 321, "exit_code": "", "last_exec_ts": ""}',
        "absent": '{"task_id": 321}',
        "null": "null",
        "204_empty": "",
        "200_empty": "",
        "json_null": '{"status": null, "task_id": 321, "exit_code": null, "last_exec_ts": null}',
    }.items():
        control.configure(none_style=style)
        assert (api.status().status_code, api.status().text) == (204 if style == "204_empty" else 200, text)
    control.patch_etl(321, none_style="absent")
    assert (api.status().text, len(api.status(322).json())) == ('{"task_id": 321}', 4)


def test_words(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="ERROR")
    control.configure(words_case="title", state_words={"ENDED": "DONE"}, exit_words={"ERROR": "FAILED"})
    assert api.shown() == ("Done", "Failed")
    assert control.status(321)["state"] == "ENDED", "the true state"
    control.configure(words_case="lower", request_words={"OK": "PENDING"})
    assert api.act("stop").json()["request_status"] == "pending"


def test_forms_of_the_time(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", last_exec_ts="2026-01-31T23:59:59Z")
    forms = {
        "z": "2026-01-31T23:59:59Z",
        "offset": "2026-01-31T23:59:59+00:00",
        "zone": "2026-02-01T01:59:59+02:00",
        "fraction": "2026-01-31T23:59:59.000Z",
        "no_zone": "2026-01-31T23:59:59",
        "space": "2026-01-31 23:59:59",
        "epoch": 1769903999,
        "epoch_text": "1769903999",
        "epoch_ms": 1769903999000,
    }
    for form, shown in forms.items():
        control.configure(time_format=form)
        assert api.status().json()["last_exec_ts"] == shown
    control.configure(time_format=["z", "offset"])
    assert {api.status().json()["last_exec_ts"] for _number in range(2)} == {forms["z"], forms["offset"]}


def test_clock_of_the_server(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED")
    stamp = api.status().json()["last_exec_ts"]
    control.configure(clock_skew=-86400)
    assert api.status().json()["last_exec_ts"] < stamp
    shown = email.utils.parsedate_to_datetime(api.list().headers["Date"]).timestamp()
    assert shown == int(control.clock()["now"]) - 86400
    control.configure(date_text="Fri, 31 Dec 9999 23:59:59 GMT")
    assert api.list().headers["Date"] == "Fri, 31 Dec 9999 23:59:59 GMT"
    control.configure(date_header=False)
    assert "Date" not in api.list().headers
    for _number in range(40):
        control.advance(10**10)
    control.configure(token_life=10**10, clock_skew=10**10, date_header=True, date_text=None)
    api.login()
    assert codes(api.act("run"), api.status()) == [200, 200], "time does not run out"


def test_status_204_with_a_body(api: Api, control: Control) -> None:
    """The documented form, which an HTTP library does not show."""
    control.put_etl(321, state="ENDED")
    control.configure(status_code=204)
    address = urlsplit(api.simulator.url)
    head = f"Host: x\r\nAccept: application/json\r\nAuthorization: {api.headers['Authorization']!s}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"GET {ETLS}/321/status HTTP/1.1\r\n{head}".encode())
        head, _blank, body = connection.makefile("rb").read().decode().partition("\r\n\r\n")
    assert (head.split()[1], json.loads(body)["status"]) == ("204", "ENDED")


# --- executions -------------------------------------------------------------------------------------------------------


def test_a_run_from_request_to_end(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="WARNING", start_lag=2, duration=8, exit="ERROR")
    before = api.status().json()
    assert api.act("run", color="blue").json() == {"task_execution_request_id": 21359, "request_status": "OK"}
    control.advance(1)
    assert api.status().json() == before, "the engine has not polled for work yet"
    control.advance(1)
    assert api.status().json() == {**before, "status": "RUNNING"}, "exit code and time are the previous run's"
    control.advance(8)
    assert api.shown() == ("ENDED", "ERROR")
    assert api.status().json()["last_exec_ts"] == control.clock()["shown"]
    (execution,) = control.executions(321)
    assert (execution["properties"], execution["exit"]) == ({"color": "blue"}, "ERROR")
    assert execution["started_at"] - execution["accepted_at"] == pytest.approx(2)
    assert execution["ended_at"] - execution["started_at"] == pytest.approx(8)
    assert execution["cause"] == control.requests(exchange="run")[0]["n"]
    control.put_etl(53, kind="service")
    assert api.act("run", 53).json() == {"task_execution_request_id": -1, "request_status": "OK"}
    control.put_etl(322, ts_semantics="start", duration=8, exits=["ERROR", None])
    for exit_code in ("ERROR", None, "OK"):
        api.act("run", 322)
        started = control.clock()["shown"]
        control.advance(100)
        assert (api.shown(322), api.status(322).json()["last_exec_ts"]) == (("ENDED", exit_code), started)
        assert control.executions(322)[-1]["ended_at"] == pytest.approx(control.clock()["now"] - 92)


#: The fields of an ETL, and what happens ("run", "stop: ERROR" if it is refused, "run: 500" for an HTTP status,
#: "engine=active" for a changed field, a number of seconds) with what is shown then; how many executions began.
STORIES: list[tuple[dict[str, Any], str, int]] = [
    # A schedule is armed, stays armed after a run, and is canceled by kill only.
    ({"kind": "periodic", "duration": 8}, "run RUNNING/OK, schedule RUNNING/OK, 8 WAITING/OK, kill ENDED/OK", 1),
    ({"schedule_lag": 3, "duration": 1}, "schedule none, 3 WAITING, run RUNNING, 1 WAITING/OK, kill ENDED/OK", 1),
    ({"schedule_lag": 3, "duration": 1}, "schedule none, 3 WAITING, kill ENDED, run RUNNING, 1 ENDED/OK", 1),
    # Stop and kill.
    ({"kind": "periodic", "duration": None}, "stop WAITING/OK, run RUNNING/OK, stop WAITING/OK", 1),
    ({"duration": None, "stop_lag": 2}, "run RUNNING, stop RUNNING, 2 ENDED/OK", 1),
    ({"duration": None, "kill_lag": 2}, "run RUNNING, kill RUNNING, 2 ABORTED", 1),
    ({"duration": None, "stop_exit": "WARNING", "stop_state": "ABORTED"}, "run RUNNING, stop ABORTED/WARNING", 1),
    ({"duration": None, "stop_effect": "ignored"}, "run RUNNING, stop RUNNING, 99 RUNNING", 1),
    ({"duration": None, "kill_effect": "ignored"}, "run RUNNING, kill RUNNING, 99 RUNNING", 1),
    ({"when_idle": "error"}, "stop: ERROR none, kill: ERROR none", 0),
    # A stop leaves a request that has not begun, and a kill takes it away.
    ({"start_lag": 10, "duration": 1}, "run none, stop none, 60 ENDED/OK", 1),
    ({"start_lag": 10, "duration": 1}, "run none, kill none, 60 none", 0),
    # A second run. Before the first begins, the server does not show RUNNING and takes both.
    ({"duration": 9, "run_when_running": "error"}, "run RUNNING, run: ERROR RUNNING, 99 ENDED/OK", 1),
    ({"duration": 9, "run_when_running": "http_500"}, "run RUNNING, run: 500 RUNNING, 99 ENDED/OK", 1),
    ({"duration": 9, "run_when_running": "queue"}, "run RUNNING, 5 RUNNING, run RUNNING, 12 RUNNING/OK", 2),
    ({"duration": 9, "run_when_running": "parallel"}, "run RUNNING, 5 RUNNING, run RUNNING, 10 ENDED/OK", 2),
    ({"start_lag": 5, "duration": 10}, "run none, run none, 100 ENDED/OK", 2),
    # Services and engines.
    ({"kind": "service", "start_lag": 2}, "schedule SERVICE_OFF, run SERVICE_OFF, 9999 SERVICE_ON", 1),
    ({"kind": "service", "stop_lag": 3}, "run SERVICE_ON, run: ERROR SERVICE_ON, stop SERVICE_ON, 3 SERVICE_OFF", 1),
    ({"engine": "inactive", "start_lag": 2}, "run none, 86400 none, engine=active none, 2 RUNNING", 1),
    ({"state": "ENDED", "engine": "inactive"}, "schedule ENDED/OK, 86400 ENDED/OK", 0),
    ({"engine": "refuses"}, ", ".join(f"{action}: ERROR none" for action in ACTIONS), 0),
    # The word of the answer, and whether it is the truth.
    ({"answers": {"run": "ERROR"}}, "run: ERROR none", 0),
    ({"answers": {"run": None}}, "run: None RUNNING", 1),
    ({"answers": {"run": "ERROR"}, "answer_work": True}, "run: ERROR RUNNING", 1),
    ({"answers": {"run": "PENDING"}, "answer_work": False}, "run: PENDING none", 0),
]


@pytest.mark.parametrize(("fields", "story", "executions"), STORIES)
def test_story(api: Api, control: Control, fields: dict[str, Any], story: str, executions: int) -> None:
    control.put_etl(321, **fields)
    for step in story.split(", "):
        happens, _space, shown = step.rpartition(" ")
        event, _colon, answer = happens.partition(": ")
        field, changed, value = event.partition("=")
        if event in ACTIONS:
            reply = api.act(event, color="blue")
            said = reply.json()["request_status"] if reply.status_code == 200 else reply.status_code
            assert str(said) == (answer or "OK"), step
        elif changed:
            control.patch_etl(321, **{field: value})
        else:
            control.advance(float(event))
        assert ("/".join(filter(None, api.shown())) or "none") == shown, step
    begun = control.executions()
    assert len(begun) == executions
    assert all(execution["properties"] == {"color": "blue"} for execution in begun)


def test_somebody_else(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", duration=None)
    control.start(321, after=30)
    control.finish(321, after=60, state="ABORTED", exit="FAILED")
    for seconds, state in ((29, "ENDED"), (1, "RUNNING"), (30, "ABORTED")):
        control.advance(seconds)
        assert api.shown()[0] == state
    assert (api.shown()[1], control.counters()["launches_by_etl"]) == ("FAILED", {})
    assert control.start(321, duration=5, exit="WARNING")["cause"] == "external"
    control.advance(5)
    assert api.shown() == ("ENDED", "WARNING")
    control.put_etl(322, state="RUNNING", duration=10)
    control.start(322, after=50, duration=None)
    control.patch_etl(322, state="ENDED", exit_code="ERROR", last_exec_ts="2026-01-01T00:00:00Z")
    control.advance(100)
    assert api.shown(322) == ("ENDED", "ERROR"), "what was under way is dropped"


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "runs", "recorded", "content_type", "text"),
    [
        # The connection breaks.
        ({"kind": "reset_before"}, 0, "reset", None, None),
        ({"kind": "reset_after"}, 1, "reset", None, None),
        ({"kind": "slow_before_nothing", "seconds": 0}, 0, "closed", None, None),
        ({"kind": "cut_json"}, 1, 200, None, None),
        # The answer is wrong.
        ({"kind": "status"}, 0, 503, "text/plain", ""),
        ({"kind": "status", "code": 500, "body": {"a": 1}}, 0, 500, "application/json", '{"a": 1}'),
        ({"kind": "status", "code": 502, "body": "<p>", "content_type": "text/html"}, 0, 502, "text/html", "<p>"),
        ({"kind": "status", "work": True}, 1, 503, "text/plain", ""),
        ({"kind": "accept_then_status"}, 1, 502, "text/plain", ""),
        ({"kind": "html_200", "body": "<p>mine</p>"}, 0, 200, "text/html", "<p>mine</p>"),
        ({"kind": "wrong_shape", "body": [1]}, 1, 200, "application/json", "[1]"),
        (
            {"kind": "edit", "set": {"request_status": "A\u202eB"}, "drop": ["task_execution_request_id"]},
            *(1, 200, "application/json", '{"request_status": "A\\u202eB"}'),
        ),
        ({"kind": "raw", "text": "HTTP/1.1 200 Odd\r\nContent-Type: a/b\r\n\r\nrest"}, 1, "raw", "a/b", "rest"),
    ],
)
def test_faults(api: Api, control: Control, fault: Any, runs: int, recorded: Any, content_type: Any, text: Any) -> None:
    control.put_etl(321, duration=None)
    control.fault({"exchange": "run"}, fault)
    if text is None:
        with pytest.raises(requests.RequestException):
            api.act("run")
    else:
        reply = api.act("run")
        assert reply.status_code == (200 if recorded == "raw" else recorded)
        assert (reply.headers["Content-Type"], reply.text) == (content_type, text)
    (entry,) = control.requests(exchange="run")
    assert (entry["status"], entry["fault"], len(control.executions())) == (recorded, fault["kind"], runs)
    assert api.status().status_code == 200, "the next request is served"


@pytest.mark.parametrize("kind", ["slow", "slow_after"])
def test_slow(api: Api, control: Control, kind: str) -> None:
    control.put_etl(321, duration=None)
    control.fault({"exchange": "run"}, {"kind": kind, "seconds": 0.4})
    with pytest.raises(requests.ReadTimeout):
        api.act("run", timeout=(30, 0.2))
    assert len(control.executions()) == (kind == "slow_after")
    control.wait_until(lambda c: len(c.executions()) == 1)


def test_headers_of_faults(api: Api, control: Control) -> None:
    control.fault({}, {"kind": "status", "code": 429, "retry_after": 7, "headers": {"X-Limit": "1"}})
    assert dict(api.list().headers).items() >= {"Retry-After": "7", "X-Limit": "1"}.items()
    control.fault({}, {"kind": "redirect", "location": "https://elsewhere.invalid/"})
    assert api.list().headers["Location"] == "https://elsewhere.invalid/"


def test_replicas_that_lag(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="WARNING", duration=10)
    api.act("run")
    control.advance(20)
    control.fault({"exchange": "status"}, {"kind": "stale", "seconds": 15})
    control.fault({"exchange": "status"}, {"kind": "stale", "seconds": 9999})
    assert [api.shown() for _n in range(3)] == [("RUNNING", "WARNING"), ("ENDED", "WARNING"), ("ENDED", "OK")]
    control.configure(replica_lag=[0, 15])
    assert {api.shown() for _number in range(2)} == {("RUNNING", "WARNING"), ("ENDED", "OK")}


def test_order_and_match_of_rules(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.put_etl(322)
    control.fault({"exchange": "status"}, {"kind": "status", "code": 501}, skip=1, times=2)
    first = control.fault({"exchange": "read", "etl_id": 321}, {"kind": "status", "code": 502}, times=1)
    control.fault({"exchange": ["status", "kill"], "etl_id": 321}, {"kind": "status"}, skip=2, times=-1)
    assert codes(*(api.status() for _number in range(8))) == [502, 501, 501, 200, 200, 503, 503, 503]
    assert codes(api.status(322), api.act("kill"), api.act("stop")) == [200, 503, 200]
    assert [(rule["hits"], rule["passed"], rule["spent"]) for rule in control.faults()][1] == (1, 0, True)
    control.call("DELETE", f"/faults/{first['id']}")
    assert len(control.faults()) == 2
    control.clear_faults()
    control.fault({"exchange": "auth"}, {"kind": "status"})
    control.fault({"exchange": "write"}, {"kind": "status", "code": 504}, times=-1)
    assert codes(api.login(), api.list(), api.status(), *map(api.act, ACTIONS)) == [503, 200, 200, *[504] * 4]


def test_outage(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.fault({}, {"kind": "reset_before"}, times=-1)
    control.configure(latency_ms=60_000)
    assert control.status(321)["state"] is None, "control calls are never hit"
    control.reset()
    control.outage(30, "502")
    assert api.login().status_code == 502
    control.advance(30)
    assert api.login().status_code == 200
    control.outage(30)
    with pytest.raises(requests.ConnectionError):
        api.list()
    assert control.requests()[-1]["fault"] == "outage"


# --- control ----------------------------------------------------------------------------------------------------------


def test_record_counters_and_reset(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.put_etl(322, engine="refuses")
    api.act("run")
    api.act("run", 322)
    api.list()
    api.status()
    api.status(9)
    api.login(access_secret_key="wrong")
    run = control.requests(exchange="run")[0]
    assert abs(run.pop("time") - time.time()) < 60
    assert run == {
        "n": 2, "method": "POST", "path": f"{ETLS}/321/run", "exchange": "run", "etl_id": 321, "write": True,
        "accept": "application/json", "content_type": "application/json",
        "has_authorization": True, "token_serial": 1, "connection": 1, "body": EMPTY, "status": 200, "accepted": True,
        "fault": None,
    }  # fmt: skip
    assert control.counters() == {
        "requests": 7, "logins": 2, "refreshes": 0, "lists": 1, "statuses": 2, "writes": 2,
        "by_action": {"run": 2, "schedule": 0, "stop": 0, "kill": 0}, "accepted_by_etl": {321: 1},
        "launches_by_etl": {321: 1}, "unauthorized": 1, "connections": 1,
    }  # fmt: skip
    record = json.dumps([control.requests(), control.counters(), control.config(), control.access_keys()])
    assert api.simulator.access_secret_key not in record
    assert str(api.headers["Authorization"])[7:] not in record
    control.advance(1_000_000)
    control.reset()
    assert (control.etls(), control.requests(), control.executions()) == ([], [], [])
    assert (control.config()["token_life"], api.list().status_code) == (900, 401)
    assert abs(control.clock()["now"] - time.time()) < 60


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        ("PUT", "/config", {"token_live": 5}, "no 'token_live'; it has clock_skew"),
        ("PUT", "/config", {"token_life": -1}, "'token_life' must be a number, at least 0, not -1"),
        ("PUT", "/config", {"clock_skew": 1e300}, "must be a number"),
        ("PUT", "/config", {"time_format": ["odd"]}, "'time_format' must be one of z, offset"),
        ("PUT", "/config", {"date_text": "a\r\nb: c"}, "one line of text"),
        ("PUT", "/etls/321", {"exits": [1]}, "'exits' must be a list (text or null each), not [1]"),
        ("PUT", "/etls/321", {"answers": {"fly": "OK"}}, "'answers' must be an object (one of run, schedule"),
        ("PUT", "/etls/321", {"last_exec_ts": "2026-13-01T00:00:00Z"}, "is not a time"),
        ("POST", "/etls/7/start", {"lag": 1}, "A start has no 'lag'"),
        ("POST", "/etls/8/finish", {}, "not executing"),
        ("POST", "/faults", {"fault": {"kind": "fire"}}, "one of status"),
        ("POST", "/faults", {"fault": {"kind": "slow", "code": 300}}, "The fault slow has no 'code'"),
        ("POST", "/faults", {"fault": {"kind": "raw", "text": "\u20ac"}}, "Latin-1"),
        ("POST", "/faults", {"fault": {"kind": "slow"}, "match": {"exchange": "fly"}}, "no exchange 'fly'"),
        ("PUT", "/keys", {"access_key": "new"}, "needs a 'secret'"),
        ("POST", "/outage", {"mode": "503"}, "needs 'seconds'"),
        ("POST", "/reset", {"scenario": "other"}, "there are empty, demo"),
        ("POST", "/reset", {"scenario": {"etls": [{}]}}, "needs an 'id'"),
        ("POST", "/tea", None, "There is no control call POST /_simulator/tea"),
    ],
)
def test_invalid_control_calls(control: Control, method: str, path: str, body: Any, sentence: str) -> None:
    control.put_etl(7, state="RUNNING", duration=None)
    control.put_etl(8)
    with pytest.raises(SimulatorError, match=re.escape(sentence)):
        control.call(method, path, body)
    assert [etl["id"] for etl in control.etls()] == [7, 8], "nothing has changed"
    assert len(control.access_keys()) == 1


def test_no_value_breaks_the_server(api: Api, control: Control) -> None:
    """A field is refused with a sentence or accepted; then the ETL can be read and run."""
    for name in sorted(fields_of(Behavior)):
        for value in (None, True, -1, 1e10, "x", "9999-12-31T23:59:59Z", [None], {"run": None}):
            try:
                control.put_etl(1, **{name: value})
            except SimulatorError:
                continue
            assert set(codes(api.status(1), api.list(), api.act("run", 1), api.act("kill", 1))) <= {200, 204}


def test_page(api: Api, control: Control) -> None:
    control.reset("demo")
    page = requests.get(f"{api.simulator.url}/", timeout=30)
    assert re.findall(r'(?:src|href)="([^"]+)"', page.text) == ["data:,"], "it needs nothing from elsewhere"
    api.login()
    api.act("run")
    for _number in range(30):
        api.status()
    control.fault({"exchange": "status"}, {"kind": "status"})
    control.advance(3)
    api.status()
    data = requests.get(f"{api.simulator.url}/_page.json", timeout=30).json()
    seen = [(row["path"].rpartition("/")[2], row["status"], row["count"]) for row in data["requests"]]
    assert seen == [("status", 503, 1), ("status", 200, 30), ("run", 200, 1), ("login", 200, 1)]
    etl = next(etl for etl in data["etls"] if etl["id"] == 321)
    assert (etl["state"], etl["due"] - etl["since"]) == ("RUNNING", pytest.approx(8))
    assert max(etl["age"] for etl in data["etls"] if etl["age"] is not None) < 7 * 86400, "plausible dates"


# --- processes and documentation --------------------------------------------------------------------------------------


def test_profile_and_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, scene = tmp_path / "profile.yml", tmp_path / "scene.json"
    profile = {"permissions": ["read"], "forbidden_code": 401, "exit_words": ["Partial"], "etl_count": 3}
    profile.update(
        format_version=1, product="of no effect", state_words=None, clock_skew_seconds=60, token_life_seconds=60
    )
    path.write_text(yaml.safe_dump(profile))
    scene.write_text(json.dumps({"config": {"latency_ms": 200}, "etls": [{"id": 321, "state": "ENDED"}]}))
    arguments = ("--profile", str(path), "--latency-ms", "1", "--token-life", "45", "--page-port", "0")
    with SimulatorProcess(https=False, scenario=str(scene), extra_args=arguments) as server:
        server.control.reset()
        config = server.control.config()
        assert (config["clock_skew"], config["token_life"], config["latency_ms"]) == (60, 45, 200), (
            "the later one has priority"
        )
        assert [etl["exit_code"] for etl in server.control.etls()] == ["OK", "Partial", None]
        with Api(server) as api:
            assert codes(api.login(), api.act("run")) == [200, 401]
            assert api.list().elapsed.total_seconds() >= 0.2
        assert requests.get(server.page, timeout=30).text.startswith("<!DOCTYPE html>")
        assert server.page != f"{server.url}/"
    assert main(["--profile", str(path), "--http", "--stop-after", "0"]) == 0
    assert "without effect: product" in capsys.readouterr().err
    with pytest.raises(SimulatorError, match="cannot be read"):
        SimulatorProcess(scenario="no-such-file.json").start()


def test_command_line(tmp_path: Path) -> None:
    """As a module; all other tests start the folder."""
    command = [sys.executable, "-m", "tests.simulator", "--state-dir", str(tmp_path), "--stop-after", "0"]
    command += ["--access-secret-key", "a b"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    exports = dict(re.findall(r"export (\w+)=(.*)", done.stdout))
    assert (exports["HELIX_URL"][:18], exports["HELIX_ACCESS_SECRET_KEY"]) == ("https://127.0.0.1:", "'a b'")
    ssl.create_default_context(cafile=exports["HELIX_CA_PATH"])
    assert (tmp_path / "server.pem").stat().st_mode & 0o77 == 0
    assert not (tmp_path / "ready.json").exists(), "it is no longer ready"


def test_missing_libraries() -> None:
    """With a Python that has only its standard library."""
    command = [sys.executable, "-I", "-S", str(FOLDER)]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "--page-port" in shown.stdout
    started = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (started.returncode, started.stdout) == (1, "")
    assert started.stderr.startswith("The simulator needs aiohttp, PyJWT, trustme. Install with: ")
    assert started.stderr.endswith(" -m pip install aiohttp PyJWT trustme\n")


@pytest.mark.parametrize(
    ("arguments", "profile", "message"),
    [
        (("--host", "192.0.2.1"), {}, "cannot start"),
        (("--speed", "-1"), {}, "at least 0"),
        ((), {"format_version": 2}, "format_version 2; this simulator reads 1"),
        ((), {"no_value": "none"}, "'no_value' must be one of null"),
        ((), {"unknown_id": {"status": 400}}, "'unknown_id' has no 'status'"),
    ],
)
def test_it_says_why_it_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], profile: Any, message: str
) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"format_version": 1, **profile}))
    assert main(["--state-dir", str(tmp_path), "--profile", str(path), "--stop-after", "0", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_it_ends_with_the_process_that_started_it() -> None:
    """A process that dies closes its pipes. The certificate is invalid, so `Control` cannot verify it."""
    with SimulatorProcess(extra_args=("--certificate", "expired")) as simulator:
        assert simulator.control.etls() == []
        process = simulator._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
        assert not (simulator.state_dir / "ready.json").exists()


def test_documentation() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    calls = [f"`{method} {path}`" for method, path in control_module.CALLS]
    fields = [f"`{name}`" for name in (*control_module.PROFILE, *control_module.MORE_OF_A_PROFILE)]
    assert [name for name in (*calls, *fields) if name not in readme] == []
    description = yaml.safe_load((ROOT / "docs" / "openapi" / "bmc_helix_etl.yaml").read_text(encoding="utf-8"))
    for item in description["paths"].values():
        for operation in (item[method] for method in ("get", "post") if method in item):
            assert operation["x-confidence"] in ("documented", "seen", "inferred")
            assert all(page.startswith("https://docs.bmc.com/") for page in operation["x-source"])
