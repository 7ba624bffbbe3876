# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every action in every state: whether a request is sent, what is returned, check mode, and a second time; etl_wait."""

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
_ARMED, _STOPPED = ("scheduled", "-nothing_to_do"), ("stopped", "-nothing_to_do")
_OFF = ("service_off", "-nothing_to_do")
_TABLE: dict[str, list[tuple[str, str]]] = {
    "run": [_RUN, _RUN, _RUN, _RUN, ("-succeeded", "succeeded"), _NOTHING, _ON, _RUN],
    "schedule": [_ARMED, _ARMED, _ARMED, _NOTHING, _NOTHING, _NOTHING, _ON, _ARMED],
    "stop": [_NOTHING, _NOTHING, _NOTHING, _NOTHING, _STOPPED, _OFF, _NOTHING, _TIMED_OUT],
    "kill": [_NOTHING, _NOTHING, _NOTHING, _STOPPED, _STOPPED, _OFF, _NOTHING, _TIMED_OUT],
}
EXPECTED = {(action, state): ends for action, row in _TABLE.items() for state, ends in zip(STATES, row)}


@pytest.mark.parametrize(("action", "state"), EXPECTED)
def test_check_mode_and_twice(library: InProcess, action: str, state: str) -> None:
    control = library.control
    control.put_etl(ETL, **STATES[state])
    before = control.status(ETL)
    done = library(action=action, etl_id=ETL, check=True, diff=True)
    assert_documented("etl_action", done.result)
    is_needed = not EXPECTED[action, state][0].startswith("-")
    assert (done.outcome, done.changed) == (f"would_{action}" if is_needed else "nothing_to_do", is_needed)
    assert (done["diff"]["before"] != done["diff"]["after"]) == is_needed
    assert control.counters()["writes"] == 0
    assert control.status(ETL) == before
    # "No value" is confirmed for five seconds.
    assert done.seconds <= (5 if state == "none" else 1), "check mode does not wait"

    for number, expected in enumerate(EXPECTED[action, state]):
        outcome, sent = expected.lstrip("-"), control.counters()["writes"]
        done = library(action=action, etl_id=ETL, wait_timeout=600, diff=True)
        assert_documented("etl_action", done.result)
        assert (done.outcome, done.failed) == (outcome, outcome == "timed_out"), done["msg"]
        assert done.changed is (not expected.startswith("-"))
        assert control.counters()["writes"] - sent == done.changed
        assert (done.etl["task_execution_request_id"] is None) == (done.etl["started_at"] is None) == (not done.changed)
        assert number or done.etl["before"]["status"] == before["state"]
        truth = control.status(ETL)
        after = {"status": truth["state"], "exit_code": truth["exit_code"], "last_exec_ts": truth["last_exec_ts"]}
        assert done["diff"] == {"before": done.etl["before"], "after": after}
        assert done.etl["after"] == after
        library.clock.sleep(2)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("etl_action", {"etl_id": 1}, "missing required arguments: action"),
        ("etl_action", {"action": "run"}, "one of the following is required: etl_id, etl_name"),
        ("etl_action", {"action": "restart", "etl_id": 1}, "value of action must be one of"),
        ("etl_action", {"action": "run", "etl_id": 1, "etl_name": "x"}, "mutually exclusive"),
        ("etl_info", {"etl_id": 1, "etl_name": "x"}, "mutually exclusive"),
        ("etl_wait", {"etl_id": 1, "etl_name": "x"}, "mutually exclusive"),
    ],
)
def test_arguments_that_ansible_rejects(library: InProcess, name: str, options: dict[str, Any], words: str) -> None:
    assert words in library(name, **options)["msg"]
    assert library.control.requests() == []


@pytest.mark.parametrize("stamps", ["start", "end"])
@pytest.mark.parametrize("pause", [0, 30, 200])
@pytest.mark.parametrize("state", ["ENDED", None, "RUNNING"])
def test_waiting_for_a_run_of_an_earlier_task(library: InProcess, stamps: str, pause: float, state: str) -> None:
    """Started, attached to, not yet started, running, long over: each is the execution that is meant."""
    etl = {"state": state, "exit_code": "ERROR", "last_exec_age": 900} if state else {}
    library.control.put_etl(ETL, **etl, exit="OK", duration=60, start_lag=10, ts_semantics=stamps)
    started = library(action="run", etl_id=ETL, wait=False)
    library.clock.sleep(pause)
    done = library("etl_wait", etl_id=ETL, baseline=started["etls"])
    assert_documented("etl_wait", done.result)
    assert (done.outcome, done.failed, done.changed) == ("succeeded", False, False), done["msg"]
    (execution,) = library.control.executions(ETL)
    assert execution["ended_at"] is not None, "it succeeded before the end"
