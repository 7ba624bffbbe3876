# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""etl_action for one ETL: every action in every state, in check mode, twice; and every failure as a user reads it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import Done, InProcess

pytest_plugins = ("tests.functional.inprocess",)

ACTIONS = ("run", "schedule", "stop", "kill")
STATES: dict[str, dict[str, Any]] = {
    "none": {"state": None},
    "ENDED": {"state": "ENDED"},
    "ABORTED": {"state": "ABORTED"},
    "WAITING": {"state": "WAITING", "kind": "periodic"},
    "RUNNING": {"state": "RUNNING", "duration": 60},
    "SERVICE_ON": {"state": "SERVICE_ON", "kind": "service"},
    "SERVICE_OFF": {"state": "SERVICE_OFF", "kind": "service"},
}
#: (outcome, whether a request is sent) of the first run, by state and action.
EXPECTED: dict[str, dict[str, tuple[str, bool]]] = {
    "none": {
        "run": ("succeeded", True),
        "schedule": ("scheduled", True),
        "stop": ("nothing_to_do", False),
        "kill": ("nothing_to_do", False),
    },
    "ENDED": {
        "run": ("succeeded", True),
        "schedule": ("scheduled", True),
        "stop": ("nothing_to_do", False),
        "kill": ("nothing_to_do", False),
    },
    "ABORTED": {
        "run": ("succeeded", True),
        "schedule": ("scheduled", True),
        "stop": ("nothing_to_do", False),
        "kill": ("nothing_to_do", False),
    },
    "WAITING": {
        "run": ("succeeded", True),
        "schedule": ("nothing_to_do", False),
        "stop": ("nothing_to_do", False),
        "kill": ("stopped", True),
    },
    "RUNNING": {
        "run": ("succeeded", False),
        "schedule": ("nothing_to_do", False),
        "stop": ("stopped", True),
        "kill": ("stopped", True),
    },
    "SERVICE_ON": {
        "run": ("nothing_to_do", False),
        "schedule": ("nothing_to_do", False),
        "stop": ("service_off", True),
        "kill": ("service_off", True),
    },
    "SERVICE_OFF": {
        "run": ("service_on", True),
        "schedule": ("service_on", True),
        "stop": ("nothing_to_do", False),
        "kill": ("nothing_to_do", False),
    },
}
CELLS = [(state, action) for state in STATES for action in ACTIONS]


def scene(library: InProcess, state: str, **fields: Any) -> None:
    library.control.put_etl(321, name="Nightly import", **{"duration": 20, **STATES[state], **fields})


def writes(library: InProcess) -> int:
    count: int = library.control.counters()["writes"]
    return count


@pytest.mark.parametrize(("state", "action"), CELLS)
def test_every_action_in_every_state(library: InProcess, state: str, action: str) -> None:
    scene(library, state)
    outcome, sent = EXPECTED[state][action]
    done = library(action=action, etl_id=321)
    assert not done.failed, done["msg"]
    assert done.outcome == outcome, done["msg"]
    assert done.changed is sent
    assert writes(library) == int(sent)
    assert "321" in done["msg"]


@pytest.mark.parametrize(("state", "action"), [cell for cell in CELLS if cell[1] != "run"])
def test_the_second_time_nothing_is_to_do(library: InProcess, state: str, action: str) -> None:
    scene(library, state)
    library(action=action, etl_id=321)
    before = writes(library)
    again = library(action=action, etl_id=321)
    assert (again.outcome, again.changed, again.failed) == ("nothing_to_do", False, False), again["msg"]
    assert writes(library) == before


@pytest.mark.parametrize(("state", "action"), CELLS)
def test_check_mode_predicts_and_writes_nothing(library: InProcess, state: str, action: str) -> None:
    scene(library, state)
    predicted = library(action=action, etl_id=321, check=True, diff=True)
    assert writes(library) == 0
    sent = EXPECTED[state][action][1]
    assert predicted.changed is sent
    assert predicted.outcome == (f"would_{action}" if sent else "nothing_to_do")
    assert predicted.etl["task_execution_request_id"] is None
    assert (predicted["diff"]["before"] != predicted["diff"]["after"]) is sent
    assert library(action=action, etl_id=321).changed is predicted.changed


@pytest.mark.parametrize("action", ACTIONS)
def test_a_state_that_nobody_knows_is_sent_with_a_warning(simulator, module, action: str) -> None:
    simulator.control.put_etl(321, name="Nightly import", state="HIBERNATING")
    done = module("etl_action", action=action, etl_id=321, wait=False)
    assert done["etl"]["outcome"] == "accepted"
    assert "HIBERNATING" in str(done["warnings"])


def test_run_again_within_max_age_is_fresh(library: InProcess) -> None:
    scene(library, "ENDED")
    assert library(action="run", etl_id=321, max_age=3600).outcome == "succeeded"
    again = library(action="run", etl_id=321, max_age=3600)
    assert (again.outcome, again.changed) == ("fresh", False)
    assert library.control.counters()["launches_by_etl"] == {321: 1}


def test_the_result_is_as_documented(library: InProcess) -> None:
    scene(library, "ENDED", start_lag=5)
    done = library(action="run", etl_id=321, run_execution_properties={"a": True, "b": 10, "c": "x", "d": 1.5})
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
    [execution] = library.control.executions(321)
    assert execution["properties"] == {"a": "true", "b": "10", "c": "x", "d": "1.5"}


def test_requests_are_those_of_the_contract(library: InProcess) -> None:
    scene(library, "ENDED")
    library.control.configure(strict_content_type="all")
    library(action="run", etl_name="Nightly import", wait=False)
    library.control.put_etl(321, name="Nightly import", state="RUNNING")
    library(action="stop", etl_id=321)
    requests = library.control.requests()
    assert {request["accept"] for request in requests} == {"application/json"}
    assert all(request["content_type"] == "application/json" for request in requests)
    assert [r["path"] for r in requests if r["exchange"] == "list"] == ["/opt/api/v1/backend/etls/"]
    [run] = [r for r in requests if r["exchange"] == "run"]
    assert run["body"] == {"run_execution_properties": {}}
    [stop] = [r for r in requests if r["exchange"] == "stop"]
    assert not stop["body"]
    assert {r["user_agent"].split("/")[0] for r in requests} == {"capacityops.bmc_helix"}


def explained(done: Done, kind: str, *words: str) -> None:
    """What every failure owes the user."""
    assert done.failed
    assert done["error"]["kind"] == kind, done["msg"]
    assert set(done["error"]) == {"kind", "http_status", "method", "path", "server_message", "remedy"}
    for word in words:
        assert word in done["msg"], done["msg"]
    assert len(done["msg"]) < 700


@pytest.mark.parametrize("style", ["json", "text", "empty", "html"])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_etl(library: InProcess, style: str, action: str) -> None:
    library.control.configure(not_found_style=style)
    scene(library, "ENDED")
    done = library(action=action, etl_id=9999)
    explained(done, "etl_not_found", "no ETL 9999", "Check the id")
    assert done["error"]["http_status"] == 400


def test_a_wrong_key(library: InProcess) -> None:
    scene(library, "ENDED")
    done = library(action="run", etl_id=321, access_secret_key="quite-the-wrong-key")
    explained(done, "authentication", "ETL 321", "401", "expired, deactivated or rotated")
    assert library.control.counters()["logins"] == 1, "a wrong key is tried once"


def test_a_wrong_tenant(library: InProcess) -> None:
    scene(library, "ENDED")
    explained(library(action="run", etl_id=321, tenant_id="nobody"), "authentication", "404", "nobody", "tenant_id")


def test_a_key_without_permission(library: InProcess) -> None:
    scene(library, "ENDED")
    library.control.put_key(library.connection["access_key"], permissions=["read"])
    explained(library(action="run", etl_id=321), "permission", "403", "capacity_optimization.custom_etl.edit")
    library.control.put_key(library.connection["access_key"], permissions=[])
    explained(library(action="run", etl_id=321), "permission", "403", "capacity_optimization.admin.etls_read")


def test_a_request_that_is_refused_inside_http_200(library: InProcess) -> None:
    scene(library, "ENDED", answers={"run": "ERROR"})
    done = library(action="run", etl_id=321)
    explained(done, "request_refused", "ETL 321", "request_status ERROR", "log")
    assert done.etl["request_status"] == "ERROR"
    assert (done.outcome, done.changed) == ("failed", False)


def test_an_engine_that_never_starts(library: InProcess) -> None:
    scene(library, "ENDED", engine="inactive")
    done = library(action="run", etl_id=321)
    explained(done, "not_started", "ETL 321", "start_timeout", "remote ETL engine")
    assert done.outcome == "not_started"
    assert done.etl["task_execution_request_id"] is not None, "what was requested is named"
    assert 300 <= done.seconds < 320


@pytest.mark.parametrize(
    ("word", "outcome"), [("ERROR", "failed"), ("FAILED", "failed"), ("ODD", "failed"), (None, "failed")]
)
def test_a_bad_exit(library: InProcess, word: str | None, outcome: str) -> None:
    scene(library, "ENDED", exit=word)
    done = library(action="run", etl_id=321)
    explained(done, "exit_error", "ETL 321", "log")
    assert done.outcome == outcome
    assert done.changed, "it did run"
    if word:
        assert word in done["msg"]


def test_exit_warning_is_green_unless_told_otherwise(library: InProcess) -> None:
    scene(library, "ENDED", exit="WARNING")
    done = library(action="run", etl_id=321)
    assert (done.outcome, done.failed) == ("warning", False)
    explained(library(action="run", etl_id=321, fail_on_warning=True), "exit_warning", "ETL 321", "WARNING")


def test_somebody_kills_it(library: InProcess) -> None:
    scene(library, "ENDED", duration=100)
    library.clock.at(30, lambda: library.control.finish(321, state="ABORTED"))
    done = library(action="run", etl_id=321)
    explained(done, "aborted", "ETL 321", "aborted")
    assert done.outcome == "aborted"


def test_a_run_that_takes_too_long(library: InProcess) -> None:
    scene(library, "ENDED", duration=5000)
    done = library(action="run", etl_id=321, wait_timeout=600)
    explained(done, "timed_out", "ETL 321", "10 min", "RUNNING", "attaches")
    assert 600 <= done.seconds < 602
    assert library(action="run", etl_id=321, wait_timeout=600).etl["attached"] is True
    assert library.control.counters()["launches_by_etl"] == {321: 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": ""}, "HELIX_URL"),
        ({"url": "https://user:quite-a-long-one@helix.example"}, "user name or password"),
        ({"url": "http://helix.example", "allow_http": False}, "https://"),
        ({"url": "ftp://helix.example"}, "https://"),
        ({"url": "https://helix.example/?a=b"}, "base address"),
        ({"access_key": "", "access_secret_key": ""}, "HELIX_ACCESS_KEY"),
        ({"access_secret_key": ""}, "access_secret_key"),
        ({"token": "not a token"}, "token"),
        ({"etl_id": [0]}, "etl_id"),
        ({"etl_id": []}, "etl_id"),
        ({"etl_id": None, "etl_name": [""]}, "etl_name"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"start_timeout": 0}, "start_timeout"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"request_timeout": 0}, "request_timeout"),
        ({"request_timeout": "inf"}, "request_timeout"),
        ({"retries": -1}, "retries"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"max_age": 0}, "max_age"),
        ({"ca_path": "/does/not/exist.pem", "validate_certs": True}, "ca_path"),
        ({"client_key": "/does/not/exist.pem"}, "client_cert"),
        ({"run_execution_properties": {"a": {"b": 1}}}, "property a"),
        ({"run_execution_properties": {"a": [1]}}, "property a"),
        ({"run_execution_properties": {"a": None}}, "property a"),
    ],
)
def test_bad_input_is_refused_before_any_request(library: InProcess, options: dict[str, Any], words: str) -> None:
    scene(library, "ENDED")
    done = library(**{"action": "run", "etl_id": 321, **options})
    explained(done, "invalid_option", words)
    assert library.control.requests() == []


def test_core_refuses_what_its_own_rules_say(library: InProcess) -> None:
    for options in ({}, {"etl_id": 1, "etl_name": "x"}, {"etl_id": "x"}):
        done = library(action="run", **options)
        assert done.failed
        assert "etl_" in done["msg"]
    assert "must be one of" in library(action="fly", etl_id=1)["msg"]
    assert library.control.requests() == []


def test_as_the_user_sees_it(simulator, play, adhoc) -> None:
    """Through the real commands, with a private CA: green, nothing to do, a failure that can be rescued."""
    simulator.control.put_etl(321, name="Nightly import", state="ENDED", duration=1)
    simulator.control.put_etl(666, name="Broken", state="ENDED", duration=1, exit="ERROR")
    first = adhoc("etl_action", {"action": "run", "etl_id": 321, "max_age": 600})
    assert "ETL 321 ran and ended with exit OK" in first.stdout
    second = adhoc("etl_action", {"action": "run", "etl_id": 321, "max_age": 600})
    assert "localhost | SUCCESS" in second.stdout
    assert "was not run" in second.stdout
    assert simulator.control.counters()["launches_by_etl"] == {321: 1}
    rescued = play(
        """
        - block:
            - name: Run it
              capacityops.bmc_helix.etl_action: {action: run, etl_id: 666}
              register: run
          rescue:
            - name: Tell
              ansible.builtin.debug:
                msg: "{{ run.etl.outcome }} {{ run.error.kind }}: {{ run.error.remedy }}"
        - name: In check mode
          capacityops.bmc_helix.etl_action: {action: run, etl_id: 666}
          check_mode: true
          register: look
        - ansible.builtin.assert:
            that: look is changed and look.etl.outcome == 'would_run'
        """
    )
    assert rescued.rc == 0, rescued.output
    assert rescued.task("Tell")["msg"].startswith("failed exit_error: See the ETL's log")
    assert "Traceback" not in rescued.output
