# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract of the simulator: the API that it simulates, its faults, its control interface, its command line."""

from __future__ import annotations

import email.utils
import gzip
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

import jsonschema
import jwt
import pytest
import requests
import yaml

from tests.simulator import control as control_module
from tests.simulator.__main__ import main
from tests.simulator.api import ETLS, LOGIN, REFRESH
from tests.simulator.client import Control, SimulatorError, SimulatorProcess
from tests.simulator.settings import fields_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "simulator"
DESCRIPTION = yaml.safe_load((ROOT / "docs" / "openapi" / "bmc_helix_etl.yaml").read_text(encoding="utf-8"))
ACTIONS = ("run", "schedule", "stop", "kill")
EMPTY: dict[str, Any] = {"run_execution_properties": {}}


class Api(requests.Session):
    """A client of the API that keeps one connection, its token, and every response."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        super().__init__()
        self.trust_env = False
        self.simulator = simulator
        self.verify = simulator.ca_file or True
        self.headers.update({"Accept": "application/json", "Content-Type": "application/json"})
        self.seen: list[requests.Response] = []

    def call(self, method: str, path: str, body: Any = None, timeout: Any = 30, **headers: Any) -> requests.Response:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        url, sent = self.simulator.url + path, {name.replace("_", "-"): value for name, value in headers.items()}
        self.seen.append(self.request(method, url, sent, content, allow_redirects=False, timeout=timeout, headers=sent))
        return self.seen[-1]

    def login(self, **changes: Any) -> requests.Response:
        keys = {"access_key": self.simulator.access_key, "access_secret_key": self.simulator.access_secret_key}
        reply = self.call("POST", LOGIN, {**keys, **changes})
        if reply.status_code == 200:
            self.headers["Authorization"] = f"Bearer {reply.json()['json_web_token']}"
        return reply

    def list(self) -> requests.Response:
        return self.call("GET", f"{ETLS}/")

    def status(self, etl_id: Any = 321) -> requests.Response:
        return self.call("GET", f"{ETLS}/{etl_id}/status")

    def act(self, action: str, etl_id: Any = 321, timeout: Any = 30, **properties: Any) -> requests.Response:
        body = {"run_execution_properties": properties} if action in ("run", "schedule") else None
        return self.call("POST", f"{ETLS}/{etl_id}/{action}", body, timeout)

    def word(self, action: str, etl_id: int = 321) -> Any:
        return self.act(action, etl_id).json()["request_status"]

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


# --- the OpenAPI description ------------------------------------------------------------------------------------------


def violation(response: requests.Response) -> Optional[str]:
    """What the description does not allow about this response."""
    path, method = urlsplit(response.request.url or "").path, str(response.request.method).lower()
    found = [item for template, item in DESCRIPTION["paths"].items() if re.fullmatch(_pattern(template), str(path))]
    declared = found[0][method]["responses"]
    code = str(response.status_code)
    answer = declared.get(code) or declared.get(f"{code[0]}XX")
    if answer is None:
        return f"status {code} of {path}"
    if "$ref" in answer:
        answer = DESCRIPTION["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    if not response.content:
        return None if code == "204" or "*/*" in answer["content"] else f"no body with {code}"
    media = answer["content"].get(response.headers["Content-Type"], answer["content"].get("*/*"))
    if media is None:
        return f"type {response.headers['Content-Type']}"
    schema = {**media.get("schema", {}), "components": DESCRIPTION["components"]}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(response.json() if "schema" in media else None)
    return next((error.message for error in errors), None)


def _pattern(template: str) -> str:
    return re.sub(r"\{\w+\}", "[^/]+", template)


@pytest.mark.parametrize(
    ("none_style", "not_found_style"),
    [("json_null", "json"), ("absent", "text"), ("empty_string", "html"), ("204_empty", "empty"), ("null", "json")],
)
def test_answers_match_the_description(api: Api, control: Control, none_style: str, not_found_style: str) -> None:
    control.configure(none_style=none_style, not_found_style=not_found_style)
    control.put_etl(1)
    control.put_etl(2, kind="service", state="SERVICE_ON")
    control.put_etl(3, state="RUNNING", run_when_running="http_500")
    control.put_etl(4, engine="refuses")
    for etl_id in (1, 2, 3, 4, 5):
        api.status(etl_id)
        for action in ACTIONS:
            api.act(action, etl_id)
    api.list()
    api.login(access_secret_key="wrong")
    api.login(tenant_id="wrong")
    api.call("POST", f"{ETLS}/1/run", b"{")
    api.call("GET", f"{ETLS}/1/status", Authorization="Bearer wrong")
    control.put_key(api.simulator.access_key, permissions=["read"])
    api.act("run", 1)
    control.fault({}, {"kind": "status", "code": 502}, times=-1)
    api.list()
    assert [problem for problem in map(violation, api.seen) if problem] == []
    assert {200, 400, 401, 403, 404, 500, 502} <= {response.status_code for response in api.seen}


def test_description_says_how_sure_it_is() -> None:
    for item in DESCRIPTION["paths"].values():
        for operation in (item[method] for method in ("get", "post") if method in item):
            assert operation["x-confidence"] in ("documented", "seen", "inferred")
            assert all(page.startswith("https://docs.bmc.com/") for page in operation["x-source"])


# --- keys and tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"access_secret_key": "wrong"}, 401),
        ({"access_key": None}, 401),
        ({"access_key": ["a", "list"]}, 401),
        ({"tenant_id": "1234567890"}, 200),
        ({"tenant_id": "another"}, 404),
    ],
)
def test_login(api: Api, control: Control, changes: dict[str, Any], status: int) -> None:
    assert api.login(**changes).status_code == status
    assert api.call("POST", LOGIN, b"[]").status_code == 400
    control.configure(tenant_required=True)
    assert api.login().status_code == 404


def test_key_is_deactivated_expires_and_rotates(api: Api, control: Control) -> None:
    key = api.simulator.access_key
    control.put_key(key, active=False)
    assert (api.login().status_code, api.list().status_code) == (401, 200), "an issued JWT stays valid"
    control.put_key(key, active=True, expires_in=60, revoke=True)
    assert (api.list().status_code, api.login().status_code) == (401, 200)
    control.advance(60)
    assert api.login().status_code == 401
    control.put_key(key, expires_in=None, secret="another", grace=60)
    assert [api.login().status_code, api.login(access_secret_key="another").status_code] == [200, 200]
    control.advance(61)
    assert [api.login().status_code, api.login(access_secret_key="another").status_code] == [401, 200]
    control.put_key("second", secret="its secret")
    assert api.login(access_key="second", access_secret_key="its secret").json()["principal_id"] == "second"


def test_permissions(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.put_key(api.simulator.access_key, permissions=["read"])
    assert [api.list().status_code, api.status().status_code, api.act("run").status_code] == [200, 200, 403]
    control.configure(forbidden_code=401)
    control.put_key(api.simulator.access_key, permissions=["write"])
    assert [api.list().status_code, api.status().status_code, api.act("run").status_code] == [401, 401, 200]


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
        assert api.call("GET", f"{ETLS}/", Authorization=authorization).status_code == 401
    control.configure(jwt_opaque=True)
    assert "." not in api.login().json()["json_web_token"]
    assert api.list().status_code == 200
    control.revoke_tokens()
    assert api.list().status_code == 401


def test_refresh(api: Api, control: Control) -> None:
    def refresh(token: Any) -> requests.Response:
        return api.call("POST", REFRESH, {"token": token})

    token = api.login().json()["token"]
    assert set(refresh(token).json()) == {"json_web_token"}
    for mode, status in (("refused", 401), ("absent", 404), ("rotates", 200)):
        control.configure(refresh_mode=mode)
        assert refresh(token).status_code == status
    assert refresh(token).status_code == 401, "it was rotated away"
    token = api.login().json()["token"]
    control.revoke_tokens(refresh_too=True)
    assert refresh(token).status_code == 401


# --- requests and answers ---------------------------------------------------------------------------------------------


def test_form_of_requests(api: Api, control: Control) -> None:
    control.put_etl(321)
    for accept in (None, "*/*", "application/json, text/plain"):
        reply = api.call("GET", f"{ETLS}/", Accept=accept)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "validation.request.accept.invalid")
    control.configure(strict_accept=False)
    assert api.call("GET", f"{ETLS}/", Accept="*/*").status_code == 200
    run = f"{ETLS}/321/run"
    assert api.call("POST", run, EMPTY, Content_Type="text/plain").status_code == 415
    assert api.call("POST", run, EMPTY, Content_Type="application/json; charset=utf-8").status_code == 200
    control.configure(strict_content_type="all")
    assert api.call("GET", f"{ETLS}/", Content_Type=None).status_code == 415
    assert [api.call("GET", run).status_code, api.call("POST", f"{ETLS}/", {}).status_code] == [405, 405]
    assert [api.call("GET", path).status_code for path in (f"{ETLS}/321", f"{ETLS}/321/status/", "/opt")] == [404] * 3


@pytest.mark.parametrize(
    ("mode", "body", "status"),
    [
        ("strict", b'{"run_execution_properties": {"a": "1"}}', 200),
        ("strict", b'{"run_execution_properties": {}}', 200),
        ("strict", b"{}", 400),
        ("strict", b"", 400),
        ("strict", b"[]", 400),
        ("strict", b'{"run_execution_properties": {"a": 1}}', 400),
        ("lenient", b"", 200),
        ("lenient", b"{}", 200),
        ("filled", b'{"run_execution_properties": {}}', 400),
    ],
)
def test_bodies(api: Api, control: Control, mode: str, body: bytes, status: int) -> None:
    control.put_etl(321)
    control.configure(run_body=mode)
    for action in ("run", "schedule"):
        assert api.call("POST", f"{ETLS}/321/{action}", body).status_code == status
        assert control.requests(exchange=action)[0]["accepted"] == (status == 200)
    assert api.call("POST", f"{ETLS}/321/stop", b"{}").status_code == 400
    control.configure(stop_body="ignored")
    assert api.call("POST", f"{ETLS}/321/stop", b"{}").status_code == 200


def test_list(api: Api, control: Control) -> None:
    control.put_etl(53, name="VMware")
    control.put_etl(54, listed=False)
    control.put_etl(55, run_configurations=[], list_overlay={"etl_id": "55", "name": "\x1b]52;c;eA==\x07"})
    configurations = [{"name": "Default", "active": True, "run_configuration_id": 1053}]
    assert api.list().json() == [
        {"name": "VMware", "etl_id": 53, "run_configurations": configurations},
        {"name": "\x1b]52;c;eA==\x07", "etl_id": "55", "run_configurations": []},
    ]
    assert api.status(54).status_code == 200
    for mode, status in (("redirect", 301), ("not_found", 404), ("served", 200)):
        control.configure(list_without_slash=mode)
        assert api.call("GET", ETLS).status_code == status


@pytest.mark.parametrize(
    ("style", "status", "text"),
    [
        ("json_null", 200, '{"status": null, "task_id": 321, "exit_code": null, "last_exec_ts": null}'),
        ("empty_string", 200, '{"status": "", "task_id": 321, "exit_code": "", "last_exec_ts": ""}'),
        ("absent", 200, '{"task_id": 321}'),
        ("null", 200, "null"),
        ("204_empty", 204, ""),
        ("200_empty", 200, ""),
    ],
)
def test_no_value(api: Api, control: Control, style: str, status: int, text: str) -> None:
    control.put_etl(321)
    control.configure(none_style=style)
    assert (api.status().status_code, api.status().text) == (status, text)
    control.configure(none_style="json_null")
    control.patch_etl(321, none_style=style)
    assert api.status().text == text


def test_not_found(api: Api, control: Control) -> None:
    for style, text in (("json", '{"error": "ETL not found"}'), ("text", "ETL not found"), ("empty", "")):
        control.configure(not_found_style=style, not_found_code=404, not_found_type="text/x-odd")
        for reply in (api.status(9), api.status("x"), *(api.act(action, 9) for action in ACTIONS)):
            assert (reply.status_code, reply.headers["Content-Type"], reply.text) == (404, "text/x-odd", text)


def test_words_and_overlays(api: Api, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="ERROR", answer_overlay={"task_execution_request_id": True})
    control.configure(words_case="title", state_words={"ENDED": "DONE"}, exit_words={"ERROR": "FAILED"})
    assert api.shown() == ("Done", "Failed")
    assert control.status(321)["state"] == "ENDED", "the true state"
    control.configure(words_case="lower", request_words={"OK": "PENDING"})
    assert api.act("stop").json() == {"task_execution_request_id": True, "request_status": "pending"}
    control.patch_etl(321, status_overlay={"task_id": "321", "more": [1]})
    assert (api.status().json()["task_id"], api.status().json()["more"]) == ("321", [1])


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
    def date() -> float:
        return email.utils.parsedate_to_datetime(api.list().headers["Date"]).timestamp()

    control.put_etl(321, state="ENDED", last_exec_age=10)
    before, stamp = date(), api.status().json()["last_exec_ts"]
    control.advance(60)
    assert date() == before + 60
    control.configure(clock_skew=-86400)
    assert date() == before + 60 - 86400
    assert api.status().json()["last_exec_ts"] < stamp
    control.configure(date_text="Fri, 31 Dec 9999 23:59:59 GMT")
    assert api.list().headers["Date"] == "Fri, 31 Dec 9999 23:59:59 GMT"
    control.configure(date_header=False)
    assert "Date" not in api.list().headers
    for _number in range(40):
        control.advance(10**10)
    control.configure(token_life=10**10, clock_skew=10**10)
    api.login()
    assert api.act("run").status_code == 200, "time does not run out"


def test_status_204_with_a_body(api: Api, control: Control) -> None:
    """The documented form, which an HTTP library does not show."""
    control.put_etl(321, state="ENDED")
    control.configure(status_code=204)
    address = urlsplit(api.simulator.url)
    head = {"Host": "x", "Accept": "application/json", "Authorization": api.headers["Authorization"]}
    lines = [f"GET {ETLS}/321/status HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 204 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["status"] == "ENDED"
    assert api.list().status_code == 200


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


def test_time_stamp_of_the_start_and_a_jump(api: Api, control: Control) -> None:
    control.put_etl(321, ts_semantics="start", start_lag=2, duration=8, exits=["ERROR", None])
    for exit_code in ("ERROR", None, "OK"):
        api.act("run")
        control.advance(100)
        assert api.shown() == ("ENDED", exit_code)
        assert control.executions()[-1]["ended_at"] == pytest.approx(control.clock()["now"] - 90)
        assert api.status().json()["last_exec_ts"] < control.clock()["shown"]


#: The fields of an ETL, and what happens ("run", "stop: ERROR" if it is refused, "run: 500" for an HTTP status,
#: "engine=active" for a changed field, a number of seconds) with what is shown then; how many executions began.
STORIES: list[tuple[dict[str, Any], str, int]] = [
    # A schedule is armed, runs, and is canceled by kill only.
    ({"kind": "periodic", "duration": 8, "period": 60}, "60 RUNNING/OK, 8 WAITING/OK, 52 RUNNING/OK", 2),
    ({"kind": "periodic", "duration": 8, "period": 60}, "180 RUNNING/OK, 8 WAITING/OK, kill ENDED/OK, 600 ENDED/OK", 3),
    ({"kind": "periodic", "kill_waiting_state": "ABORTED"}, "stop WAITING/OK, kill ABORTED/OK, 9999 ABORTED/OK", 0),
    ({"schedule_lag": 3, "duration": 1, "period": 60}, "schedule none, 3 WAITING, 61 WAITING/OK", 1),
    ({"state": "ENDED", "schedule_lag": 3}, "schedule ENDED/OK, 3 WAITING/OK", 0),
    ({"state": "ABORTED", "schedule_lag": 3}, "schedule ABORTED, 3 WAITING", 0),
    # Stop and kill.
    ({"kind": "periodic", "duration": None}, "run RUNNING/OK, stop WAITING/OK", 1),
    ({"duration": None, "stop_lag": 2}, "run RUNNING, stop RUNNING, 2 ENDED/OK", 1),
    ({"duration": None, "kill_lag": 2}, "run RUNNING, kill RUNNING, 2 ABORTED", 1),
    ({"duration": None, "stop_exit": "WARNING", "stop_state": "ABORTED"}, "run RUNNING, stop ABORTED/WARNING", 1),
    ({"duration": None, "kill_exit": "KILLED", "kill_state": "ENDED"}, "run RUNNING, kill ENDED/KILLED", 1),
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
    ({"answers": {"run": "WARNING"}, "duration": 1}, "run: WARNING RUNNING", 1),
    ({"answers": {"run": None}, "duration": 1}, "run: None RUNNING", 1),
    ({"answers": {"run": "ERROR"}, "answer_work": True, "duration": 1}, "run: ERROR RUNNING", 1),
    ({"answers": {"run": "PENDING"}, "answer_work": False}, "run: PENDING none", 0),
]  # fmt: skip


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
    if "schedule" in story or "run" in story:
        assert all(execution["properties"] == {"color": "blue"} for execution in begun)
    else:
        assert all(execution["cause"] == "period" for execution in begun)


def test_numbers_of_requests(api: Api, control: Control) -> None:
    """A request that has not begun is counted; one that is refused or for a service has no number."""
    control.put_etl(321, start_lag=10)
    control.put_etl(322, state="RUNNING", duration=None)
    control.put_etl(53, kind="service")
    for etl_id, word in ((322, "ERROR"), (53, "OK")):
        assert api.act("run", etl_id).json() == {"task_execution_request_id": -1, "request_status": word}
    for action, number in (("run", 1), ("stop", 1), ("kill", 0)):
        api.act(action)
        assert control.status(321)["not_begun"] == number


def test_somebody_else(api: Api, control: Control) -> None:
    control.put_etl(321, duration=None)
    assert control.start(321, duration=5, exit="WARNING")["cause"] == "external"
    control.advance(5)
    assert api.shown() == ("ENDED", "WARNING")
    control.start(321, after=30)
    control.finish(321, after=60, state="ABORTED", exit="FAILED")
    control.advance(29)
    assert api.shown()[0] == "ENDED"
    control.advance(1)
    assert api.shown()[0] == "RUNNING"
    control.advance(30)
    assert api.shown() == ("ABORTED", "FAILED")
    assert control.counters()["launches_by_etl"] == {}
    control.put_etl(322, state="RUNNING", duration=10)
    control.patch_etl(322, state="ENDED", exit_code="ERROR", last_exec_ts="2026-01-01T00:00:00Z")
    control.advance(100)
    assert api.shown(322) == ("ENDED", "ERROR"), "what was under way is dropped"


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "runs", "status"),
    [
        ("reset_before", 0, "reset"),
        ("reset_after", 1, "reset"),
        ("slow_before_nothing", 0, "closed"),
        ("cut_json", 1, 200),
    ],
)
def test_connection_breaks(api: Api, control: Control, kind: str, runs: int, status: Any) -> None:
    control.put_etl(321, duration=None)
    control.fault({"exchange": "run"}, {"kind": kind, **({"seconds": 0} if "slow" in kind else {})})
    with pytest.raises(requests.RequestException):
        api.act("run")
    (entry,) = control.requests(exchange="run")
    assert (entry["status"], entry["fault"], entry["accepted"]) == (status, kind, bool(runs))
    assert len(control.executions()) == runs
    assert api.status().status_code == 200, "the next request has its own connection"


@pytest.mark.parametrize("kind", ["slow", "slow_after", "slow_body"])
def test_slow(api: Api, control: Control, kind: str) -> None:
    control.put_etl(321, duration=0)
    control.fault({"exchange": "run"}, {"kind": kind, "seconds": 0.2})
    begin = time.monotonic()
    assert api.word("run") == "OK"
    assert time.monotonic() - begin > 0.19
    if kind != "slow_body":
        control.fault({"exchange": "run"}, {"kind": kind, "seconds": 1})
        with pytest.raises(requests.ReadTimeout):
            api.act("run", timeout=(30, 0.1))
        control.wait_until(lambda c: len(c.executions()) == 2)


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "text", "runs"),
    [
        ({"kind": "status"}, 503, "text/plain", "", 0),
        ({"kind": "status", "code": 500, "body": {"a": 1}}, 500, "application/json", '{"a": 1}', 0),
        ({"kind": "status", "code": 502, "body": "<p>", "content_type": "text/html"}, 502, "text/html", "<p>", 0),
        ({"kind": "status", "work": True}, 503, "text/plain", "", 1),
        ({"kind": "accept_then_status"}, 502, "text/plain", "", 1),
        ({"kind": "html_200", "body": "<p>mine</p>"}, 200, "text/html", "<p>mine</p>", 0),
        ({"kind": "wrong_shape", "body": [1]}, 200, "application/json", "[1]", 1),
        ({"kind": "edit", "set": {"request_status": "A\u202eB"}, "drop": ["task_execution_request_id"]},
         200, "application/json", '{"request_status": "A\\u202eB"}', 1),
        ({"kind": "raw", "text": "HTTP/1.1 299 Odd\r\nContent-Type: a/b\r\n\r\nrest"}, 299, "a/b", "rest", 1),
        ({"kind": "huge", "bytes": 6}, 200, "application/json", "[    ]", 0),
    ],
)  # fmt: skip
def test_wrong_answers(
    api: Api, control: Control, fault: Any, status: int, content_type: str, text: str, runs: int
) -> None:
    control.put_etl(321)
    control.fault({"exchange": "run"}, fault)
    reply = api.act("run")
    assert (reply.status_code, reply.headers["Content-Type"], reply.text) == (status, content_type, text)
    assert len(control.executions()) == runs


def test_headers_of_faults(api: Api, control: Control) -> None:
    control.fault({}, {"kind": "status", "code": 429, "retry_after": 7, "headers": {"X-Limit": "1"}})
    assert dict(api.list().headers).items() >= {"Retry-After": "7", "X-Limit": "1"}.items()
    control.fault({}, {"kind": "status", "retry_after_date": 90})
    dates = [email.utils.parsedate_to_datetime(api.list().headers["Date"])]
    dates.append(email.utils.parsedate_to_datetime(api.seen[-1].headers["Retry-After"]))
    assert (dates[1] - dates[0]).total_seconds() == 90
    control.fault({}, {"kind": "redirect", "location": "https://elsewhere.invalid/", "code": 307})
    assert (api.list().status_code, api.seen[-1].headers["Location"]) == (307, "https://elsewhere.invalid/")
    control.fault({}, {"kind": "echo_secrets", "code": 401})
    assert api.simulator.access_secret_key in api.login().text
    control.fault({}, {"kind": "huge", "bytes": 1 << 20, "gzip": True})
    packed = api.get(f"{api.simulator.url}{ETLS}/", stream=True, timeout=30).raw.read(decode_content=False)
    assert (len(packed) < 1 << 14, len(gzip.decompress(packed))) == (True, 1 << 20)


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
    assert [api.status().status_code for _number in range(8)] == [502, 501, 501, 200, 200, 503, 503, 503]
    assert [api.status(322).status_code, api.act("kill").status_code, api.act("stop").status_code] == [200, 503, 200]
    assert [(rule["hits"], rule["passed"], rule["spent"]) for rule in control.faults()][1] == (1, 0, True)
    control.call("DELETE", f"/faults/{first['id']}")
    assert len(control.faults()) == 2
    control.clear_faults()
    for group, expected in (
        ("auth", [503, 200, 200, 200]),
        ("read", [200, 503, 503, 200]),
        ("write", [200, 200, 200, 503]),
    ):
        control.fault({"exchange": group}, {"kind": "status"}, times=-1)
        replies = [api.login(), api.list(), api.status(), api.act("stop")]
        assert [reply.status_code for reply in replies] == expected
        control.clear_faults()


def test_outage(api: Api, control: Control) -> None:
    control.put_etl(321)
    control.fault({}, {"kind": "reset_before"}, times=-1)
    control.configure(latency_ms=60_000)
    assert control.status(321)["state"] is None, "control calls are never hit"
    control.reset()
    for mode, status in (("503", 503), ("502", 502)):
        control.outage(30, mode)
        assert api.login().status_code == status
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
    api.call("POST", f"{ETLS}/321/run", EMPTY, User_Agent="me/1")
    api.act("run", 322)
    api.list()
    api.status()
    api.status(9)
    api.login(access_secret_key="wrong")
    run = control.requests(exchange="run")[0]
    assert (abs(run.pop("time") - time.time()), abs(run.pop("real_time") - time.time())) < (60, 60)
    assert run == {
        "n": 2, "method": "POST", "path": f"{ETLS}/321/run", "exchange": "run", "etl_id": 321, "write": True,
        "accept": "application/json", "content_type": "application/json", "user_agent": "me/1",
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
    control.configure(token_life=5)
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
        ("PUT", "/etls/321", {"color": "blue"}, "no 'color'"),
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
        ("PUT", "/keys", {"access_key": "new", "secret": "s", "permissions": [[]]}, "one of read, write"),
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
    values: list[Any] = [None, True, -1, 1e10, "x", "9999-12-31T23:59:59Z", [None], {"run": None}]
    for name in sorted(fields_of(control_module.Tenant().put_etl(1, {}).behavior.__class__)):
        for value in values:
            try:
                control.put_etl(1, **{name: value})
            except SimulatorError:
                continue
            for reply in (api.status(1), api.list(), api.act("run", 1), api.act("kill", 1)):
                assert reply.status_code in (200, 204)


def test_page(api: Api, control: Control) -> None:
    control.reset("demo")
    page = requests.get(f"{api.simulator.url}/", timeout=30)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'(?:src|href)="([^"]+)"', page.text) == ["data:,"], "it needs nothing from elsewhere"
    api.login()
    api.act("run")
    for _number in range(30):
        api.status()
    control.advance(3)
    control.fault({"exchange": "status"}, {"kind": "status", "code": 503})
    api.status()
    data = requests.get(f"{api.simulator.url}/_page.json", timeout=30).json()
    seen = [(row["path"].rpartition("/")[2], row["status"], row["count"]) for row in data["requests"]]
    assert seen == [("status", 503, 1), ("status", 200, 30), ("run", 200, 1), ("login", 200, 1)]
    etl = next(etl for etl in data["etls"] if etl["id"] == 321)
    assert (etl["state"], etl["due"] - etl["since"]) == ("RUNNING", pytest.approx(8))
    assert max(etl["age"] for etl in data["etls"] if etl["age"] is not None) < 7 * 86400, "plausible dates"
    assert control.counters()["requests"] == 33, "the page is not counted"


# --- profiles ---------------------------------------------------------------------------------------------------------

PROFILE = {
    "format_version": 1, "status_code": 204, "no_value": "empty_body", "time_format": "offset", "words_case": "title",
    "state_words": ["Ended", "Suspended", "Service_On"], "exit_words": ["Ok", "Partial"], "trailing_slash": "optional",
    "accept": "lenient", "unknown_id": {"code": 404, "content_type": "text/html", "shape": "html"},
    "forbidden_code": 401, "permissions": ["read"], "tenant_id_required": True, "token_life_seconds": 60,
    "token_claims": "opaque", "token_exp": False, "date_header": False, "clock_skew_seconds": -30, "etl_count": 9,
    "product": "of no effect",
}  # fmt: skip


def test_profile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.yml"
    path.write_text(yaml.safe_dump(PROFILE))
    scene = tmp_path / "scene.json"
    scene.write_text(json.dumps({"etls": [{"id": 321, "state": "ENDED"}, {"id": 322}]}))
    arguments = ("--profile", str(path), "--latency-ms", "1", "--page-port", "0")
    with (
        SimulatorProcess(https=False, speed=0, scenario=str(scene), extra_args=arguments) as server,
        Api(server) as api,
    ):
        server.control.reset()
        assert {name: server.control.config()[name] for name in ("latency_ms", "clock_skew", "status_code")} == {
            "latency_ms": 1, "clock_skew": -30, "status_code": 204,
        }  # fmt: skip
        assert (api.login().status_code, api.login(tenant_id=server.tenant_id).status_code) == (404, 200)
        assert "." not in str(api.headers["Authorization"])
        listed = api.call("GET", ETLS, Accept="*/*")
        assert (len(listed.json()), "Date" in listed.headers) == (9, False)
        server.control.configure(status_code=200)
        shown = [api.status(item["etl_id"]) for item in listed.json()]
        fields = [reply.json() for reply in shown if reply.status_code == 200]
        assert {"Ended", "Suspended", "Service_On"} == {status["status"] for status in fields}
        assert {"Ok", "Partial"} == {status["exit_code"] for status in fields} - {None}
        assert fields[0]["last_exec_ts"].endswith("+00:00")
        assert shown[1].status_code == 204
        assert (api.status(7).status_code, api.seen[-1].headers["Content-Type"]) == (404, "text/html")
        assert api.act("run").status_code == 401
        server.control.advance(61)
        assert api.list().status_code == 401
        assert requests.get(server.page, timeout=30).text.startswith("<!DOCTYPE html>")
        assert server.page != f"{server.url}/"
    assert main(["--profile", str(path), "--http", "--stop-after", "0"]) == 0
    assert "without effect: product" in capfd.readouterr().err


# --- processes and documentation --------------------------------------------------------------------------------------


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


def test_missing_libraries(tmp_path: Path) -> None:
    """As installed, with a Python that has only its standard library."""
    folder = tmp_path / "ansible_collections" / "capacityops" / "bmc_helix" / "tests" / "simulator"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(folder), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (run("--help").returncode, "--page-port" in run("--help").stdout) == (0, True)
    started = run()
    assert (started.returncode, started.stdout) == (1, "")
    assert re.fullmatch(
        r"The simulator needs aiohttp, PyJWT, trustme\. Install with: .* -m pip install aiohttp PyJWT trustme\n",
        started.stderr,
    )


@pytest.mark.parametrize(
    ("arguments", "profile", "message"),
    [
        (("--scenario", "no-such-file.json"), {}, "The scenario 'no-such-file.json' cannot be read"),
        (("--host", "192.0.2.1"), {}, "cannot start"),
        (("--speed", "-1"), {}, "at least 0"),
        ((), {"format_version": 2}, "format_version 2; this simulator reads 1"),
        ((), {"no_value": "none"}, "'no_value' must be one of null, empty_string"),
        ((), {"unknown_id": {"status": 400}}, "'unknown_id' has no 'status'"),
    ],
)
def test_it_says_why_it_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], profile: Any, message: str
) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({**PROFILE, **profile}))
    assert main(["--state-dir", str(tmp_path), "--profile", str(path), "--stop-after", "0", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_process_class_passes_the_reason_on() -> None:
    with pytest.raises(SimulatorError, match="cannot be read"):
        SimulatorProcess(scenario="no-such-file.json").start()


def test_it_ends_with_the_process_that_started_it() -> None:
    program = (
        "import sys\n"
        "from tests.simulator.client import SimulatorProcess\n"
        "simulator = SimulatorProcess(https=False).start()\n"
        "print(simulator.state_dir, flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, **pipes) as parent:
        folder = Path(parent.stdout.readline().strip())
        assert (folder / "ready.json").exists()
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (folder / "ready.json").exists():
        assert time.monotonic() < deadline, "it is still ready"
        time.sleep(0.02)
    shutil.rmtree(folder)


def test_control_of_a_server_with_an_odd_certificate() -> None:
    """What clients of the API make of it is in test_network_tls.py."""
    with SimulatorProcess(extra_args=("--certificate", "expired")) as process:
        assert process.control.etls() == []


def test_readme_names_everything() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    calls = [f"`{method} {path}`" for method, path in control_module.CALLS]
    fields = [f"`{name}`" for name in (*control_module.PROFILE, *control_module.MORE_OF_A_PROFILE)]
    assert [name for name in (*calls, *fields) if name not in readme] == []
    identity = control_module.Identity()
    keys = (identity.access_key, identity.access_secret_key, identity.tenant_id)
    assert keys == (SimulatorProcess.access_key, SimulatorProcess.access_secret_key, SimulatorProcess.tenant_id)
