# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every action in every state: what is sent, what is returned, what the second run and check mode say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import InProcess, assert_documented

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
SERVICE = {"kind": "service"}
STATES: dict[str, dict[str, Any]] = {
    "none": {},
    "ENDED": {"state": "ENDED"},
    "ABORTED": {"state": "ABORTED"},
    "WAITING": {"state": "WAITING", "kind": "periodic"},
    "RUNNING": {"state": "RUNNING", "duration": 20},
    "SERVICE_ON": {**SERVICE, "state": "SERVICE_ON"},
    "SERVICE_OFF": {**SERVICE, "state": "SERVICE_OFF"},
    "HIBERNATING": {"state": "HIBERNATING"},
}

#: For each state, (outcome, outcome of a second run); "-" before it: no request is sent. The server does not leave a
#: state that nobody knows because of a stop, so those tasks fail.
_NOTHING, _TIMED_OUT = ("-nothing_to_do", "-nothing_to_do"), ("timed_out", "timed_out")
_RUN, _ON = ("succeeded", "succeeded"), ("service_on", "-nothing_to_do")
_ARMED, _STOPPED, _OFF = (
    ("scheduled", "-nothing_to_do"),
    ("stopped", "-nothing_to_do"),
    ("service_off", "-nothing_to_do"),
)
_TABLE: dict[str, list[tuple[str, str]]] = {
    "run": [_RUN, _RUN, _RUN, _RUN, ("-succeeded", "succeeded"), _NOTHING, _ON, _RUN],
    "schedule": [_ARMED, _ARMED, _ARMED, _NOTHING, _NOTHING, _NOTHING, _ON, _ARMED],
    "stop": [_NOTHING, _NOTHING, _NOTHING, _NOTHING, _STOPPED, _OFF, _NOTHING, _TIMED_OUT],
    "kill": [_NOTHING, _NOTHING, _NOTHING, _STOPPED, _STOPPED, _OFF, _NOTHING, _TIMED_OUT],
}
EXPECTED = {(action, state): ends for action, row in _TABLE.items() for state, ends in zip(STATES, row)}
ACTIONS = ("run", "schedule", "stop", "kill")
CELLS = [(action, state) for action in ACTIONS for state in STATES]


@pytest.mark.parametrize(("action", "state"), CELLS)
def test_twice(library: InProcess, action: str, state: str) -> None:
    library.control.put_etl(ETL, **STATES[state])
    shown = None if state == "none" else state
    for expected in EXPECTED[action, state]:
        number = len(library.control.requests())
        done = library(action=action, etl_id=ETL, wait_timeout=600, diff=True)
        outcome = expected.lstrip("-")
        assert done.outcome == outcome, done["msg"]
        assert_documented("etl_action", done.result)
        sent = library.control.requests(since=number, write=True)
        assert len(sent) == (0 if expected.startswith("-") else 1)
        assert done.changed is (not expected.startswith("-"))
        assert done.failed is (outcome == "timed_out")
        assert str(ETL) in done["msg"]
        assert done.etl["before"]["status"] == (shown or done.etl["before"]["status"])
        assert done["diff"] == {"before": done.etl["before"], "after": done.etl["after"]}
        truth = library.control.status(ETL)
        assert done.etl["after"] == {
            "status": truth["state"],
            "exit_code": truth["exit_code"],
            "last_exec_ts": truth["last_exec_ts"],
        }
        if not done.changed:
            assert done.etl["task_execution_request_id"] is None
            assert done.etl["started_at"] is None
        shown = None
        library.clock.sleep(2)


@pytest.mark.parametrize(("action", "state"), CELLS)
def test_check_mode(library: InProcess, action: str, state: str) -> None:
    library.control.put_etl(ETL, **STATES[state])
    before = library.control.status(ETL)
    first = EXPECTED[action, state][0]
    done = library(action=action, etl_id=ETL, check=True, diff=True)
    assert not done.failed
    assert library.control.counters()["writes"] == 0
    assert library.control.status(ETL) == before
    assert_documented("etl_action", done.result)
    if first.startswith("-"):
        assert (done.outcome, done.changed) == ("nothing_to_do", False)
        assert done["diff"]["before"] == done["diff"]["after"]
    else:
        assert (done.outcome, done.changed) == (f"would_{action}", True)
        assert done["diff"]["before"] != done["diff"]["after"]
    assert done.etl["task_execution_request_id"] is None
    # "No value" is confirmed for five seconds.
    assert done.seconds <= (5 if state == "none" else 1), "check mode does not wait"


def test_what_is_sent(library: InProcess) -> None:
    """Address, headers and body of every request."""
    library.control.configure(strict_content_type="all", stop_body="refused", run_body="strict")
    library.control.put_etl(ETL, name="Nightly", state="ENDED")
    library(action="run", etl_name="Nightly", run_execution_properties={"general.log.level": 10, "full": True, "x": ""})
    library(action="schedule", etl_id=ETL)
    library(action="kill", etl_id=ETL)
    library.control.start(ETL, duration=100)
    library(action="stop", etl_id=ETL)
    requests = library.control.requests()
    assert {entry["accept"] for entry in requests} == {"application/json"}
    assert {entry["content_type"] for entry in requests} == {"application/json"}
    assert all(entry["status"] == 200 for entry in requests), requests
    assert all(entry["has_authorization"] for entry in requests if entry["exchange"] != "login")
    base = "/opt/api/v1/backend/etls/"
    assert {entry["path"] for entry in requests if entry["exchange"] == "list"} == {base}
    for exchange in ("status", *ACTIONS):
        method = "GET" if exchange == "status" else "POST"
        asked = {(entry["method"], entry["path"]) for entry in requests if entry["exchange"] == exchange}
        assert asked == {(method, f"{base}{ETL}/{exchange}")}
    bodies = {entry["exchange"]: entry["body"] for entry in requests if entry["exchange"] in ("run", "schedule")}
    texts = {"general.log.level": "10", "full": "true", "x": ""}
    assert bodies == {"run": {"run_execution_properties": texts}, "schedule": {"run_execution_properties": {}}}
    (execution,) = [e for e in library.control.executions(ETL) if e["cause"] != "external"]
    assert execution["properties"] == texts


@pytest.mark.parametrize("style", ["json_null", "absent", "empty_string", "204_empty", "null"])
def test_every_way_to_say_that_there_is_no_state(library: InProcess, style: str) -> None:
    library.control.configure(none_style=style)
    library.control.put_etl(ETL)
    assert library(action="stop", etl_id=ETL).outcome == "nothing_to_do"
    done = library(action="run", etl_id=ETL)
    assert done.outcome == "succeeded"
    assert done.etl["before"] == {"status": None, "exit_code": None, "last_exec_ts": None}


def test_twice_within_a_second(library: InProcess) -> None:
    """Times are whole seconds: the second of two very short runs must not be overlooked, nor taken for the first."""
    library.control.put_etl(ETL, duration=0.05)
    for count in (1, 2, 3):
        done = library(action="run", etl_id=ETL, start_timeout=30)
        assert done.outcome == "succeeded", done["msg"]
        assert len(library.control.executions(ETL)) == count


def test_the_entry_tells_the_whole_story(library: InProcess) -> None:
    library.control.put_etl(ETL, state="ENDED", duration=20, start_lag=5)
    done = library(action="run", etl_id=ETL, run_execution_properties={"a": True, "b": 10, "c": "x", "d": 1.5})
    entry = done.etl
    assert done["etls"] == [entry]
    assert entry["before"]["status"] == entry["after"]["status"] == "ENDED"
    assert entry["before"]["last_exec_ts"] < entry["after"]["last_exec_ts"]
    assert entry["request_status"] == "OK"
    assert isinstance(entry["task_execution_request_id"], int)
    assert entry["evidence"] == "timestamp_changed"
    assert [look["status"] for look in entry["timeline"]] == ["ENDED", "RUNNING", "ENDED"]
    assert 25 <= entry["elapsed_seconds"] <= 30
    assert entry["polls"] < 80
    [execution] = library.control.executions(ETL)
    assert execution["properties"] == {"a": "true", "b": "10", "c": "x", "d": "1.5"}


def test_a_state_that_nobody_knows_is_warned_of(library: InProcess) -> None:
    library.control.put_etl(ETL, state="HIBERNATING")
    done = library(action="stop", etl_id=ETL, wait=False)
    assert done.outcome == "accepted"
    assert any("HIBERNATING" in warning for warning in done.warnings)
