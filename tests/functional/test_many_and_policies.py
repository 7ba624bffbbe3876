# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many ETLs in one task, the policies of a run, and the two modules that only look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import InProcess

pytest_plugins = ("tests.functional.inprocess",)


def put(library: InProcess, etl_id: int, **fields: Any) -> None:
    library.control.put_etl(etl_id, **{"name": f"Load {etl_id}", "state": "ENDED", "duration": 20, **fields})


def launches(library: InProcess) -> dict[int, int]:
    counts: dict[int, int] = library.control.counters()["launches_by_etl"]
    return counts


def writes(library: InProcess) -> int:
    count: int = library.control.counters()["writes"]
    return count


def test_thirty_etls_cost_one_login_and_keep_their_order(library: InProcess) -> None:
    ids = list(range(130, 100, -1))
    for etl_id in ids:
        put(library, etl_id)
    done = library(action="run", etl_id=ids, max_parallel=30)
    assert [entry["etl_id"] for entry in done["etls"]] == ids
    assert set(done.outcomes) == {"succeeded"}
    assert launches(library) == dict.fromkeys(ids, 1)
    assert library.control.counters()["logins"] == 1
    assert "etl" not in done.result


def test_no_more_than_max_parallel_execute_at_a_time(library: InProcess) -> None:
    for etl_id in range(101, 110):
        put(library, etl_id)
    done = library(action="run", etl_id=list(range(101, 110)), max_parallel=3)
    assert set(done.outcomes) == {"succeeded"}
    spans = [(run["started_at"], run["ended_at"]) for run in library.control.executions()]
    assert len(spans) == 9
    most = max(sum(begin <= start < end for begin, end in spans) for start, _end in spans)
    assert 1 < most <= 3


def test_one_failure_hides_no_other_result(library: InProcess) -> None:
    put(library, 101)
    put(library, 102, exit="ERROR")
    put(library, 104, engine="inactive")
    done = library(action="run", etl_id=[101, 102, 103, 104], start_timeout=60)
    assert done.failed
    assert done.outcomes == ["succeeded", "failed", "failed", "not_started"]
    assert done["error"]["kind"] == "exit_error"
    for word in ("3 of 4 ETLs failed", "ETL 102", "ETL 103", "ETL 104"):
        assert word in done["msg"]


def test_names_are_resolved_with_one_list_call(library: InProcess) -> None:
    for etl_id in (101, 102):
        put(library, etl_id)
    done = library(action="run", etl_name=["Load 102", "Load 101"])
    assert [(e["etl_id"], e["etl_name"]) for e in done["etls"]] == [(102, "Load 102"), (101, "Load 101")]
    assert library.control.counters()["lists"] == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("load 101", ["'Load 101' (id 101)"]), ("Twin", ["several", "102, 103", "etl_id"]), ("zzz", ["no ETL named"])],
)
def test_a_name_that_does_not_fit_is_an_error_before_any_write(library: InProcess, name: str, words: list[str]) -> None:
    put(library, 101)
    put(library, 102, name="Twin")
    put(library, 103, name="Twin")
    done = library(action="run", etl_name=["Load 101", name])
    assert done.failed
    assert done["error"]["kind"] == "etl_name"
    for word in words:
        assert word in done["msg"], done["msg"]
    assert writes(library) == 0


def test_duplicates_are_addressed_once_with_a_warning(simulator, module) -> None:
    simulator.control.put_etl(101, name="a", state="ENDED", duration=0)
    done = module("etl_action", action="run", etl_id=[101, 101], wait=False)
    assert len(done["etls"]) == 1
    assert "101 more than once" in str(done["warnings"])
    assert simulator.control.counters()["by_action"]["run"] == 1


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("policy", "outcome", "sent"),
    [
        ("attach", "succeeded", []),
        ("fail", "failed", []),
        ("queue", "succeeded", ["run"]),
        ("restart", "succeeded", ["stop", "run"]),
    ],
)
def test_a_run_that_meets_a_run(library: InProcess, policy: str, outcome: str, sent: list[str], check: bool) -> None:
    put(library, 101, state="RUNNING", duration=60)
    done = library(action="run", etl_id=101, if_running=policy, check=check)
    assert done.failed is (policy == "fail")
    if check:
        predicted = {"attach": "nothing_to_do", "fail": "failed"}.get(policy, "would_run")
        assert done.outcome == predicted
        assert writes(library) == 0
        return
    assert done.outcome == outcome
    assert done.changed is bool(sent)
    assert done.etl["attached"] is (policy == "attach")
    assert [r["exchange"] for r in library.control.requests() if r["write"]] == sent
    assert launches(library) == ({101: 1} if sent else {})


def test_restart_kills_what_does_not_stop(library: InProcess) -> None:
    put(library, 101, state="RUNNING", duration=9000, stop_effect="ignored")
    done = library(action="run", etl_id=101, if_running="restart", kill_after=60, wait_timeout=12000)
    assert [r["exchange"] for r in library.control.requests() if r["write"]] == ["stop", "kill", "run"]
    assert not done.failed or done.outcome == "timed_out", done["msg"]


def test_max_age_counts_by_the_clock_of_the_server(library: InProcess) -> None:
    put(library, 101, last_exec_age=3000)
    library.control.configure(clock_skew=-7200)
    assert library(action="run", etl_id=101, max_age=3600, check=True).outcome in ("fresh", "would_run")
    library.control.reset()
    library.control.speed(0)
    put(library, 101, last_exec_age=3000)
    assert library(action="run", etl_id=101, max_age=3600, check=True).outcome == "fresh"
    assert library(action="run", etl_id=101, max_age=2900, check=True).outcome == "would_run"


@pytest.mark.parametrize(
    ("fields", "options", "outcome"),
    [
        ({"exit_code": "ERROR"}, {}, "would_run"),
        ({"exit_code": "WARNING"}, {}, "fresh"),
        ({"exit_code": "WARNING"}, {"fail_on_warning": True}, "would_run"),
        ({"state": "ABORTED"}, {}, "would_run"),
        ({"state": "WAITING", "kind": "periodic"}, {}, "fresh"),
        ({"state": None}, {}, "would_run"),
    ],
)
def test_what_is_fresh(library: InProcess, fields: dict[str, Any], options: dict[str, Any], outcome: str) -> None:
    put(library, 101, **{"last_exec_age": 60, **fields} if fields.get("state", "x") else fields)
    assert library(action="run", etl_id=101, max_age=3600, check=True, **options).outcome == outcome


@pytest.mark.parametrize(
    ("policy", "state", "words"),
    [("leave", "RUNNING", "goes on"), ("stop", "ENDED", "stopped"), ("kill", "ABORTED", "killed")],
)
def test_what_becomes_of_a_run_that_takes_too_long(library: InProcess, policy: str, state: str, words: str) -> None:
    put(library, 101, duration=9000)
    done = library(action="run", etl_id=101, wait_timeout=300, on_timeout=policy)
    assert done.failed
    assert done.outcome == "timed_out"
    assert words in done["msg"]
    assert library.control.status(101)["state"] == state
    assert done.etl["task_execution_request_id"] is not None


def test_a_stop_that_does_not_work_is_escalated(library: InProcess) -> None:
    put(library, 101, state="RUNNING", duration=9000, stop_effect="ignored")
    done = library(action="stop", etl_id=101, kill_after=60)
    assert not done.failed, done["msg"]
    assert "kill" in done["msg"]
    assert 60 <= done.seconds < 90


@pytest.mark.parametrize(
    "options",
    [
        {"action": "stop", "max_age": 60},
        {"action": "schedule", "if_running": "queue"},
        {"action": "kill", "on_timeout": "kill"},
        {"action": "stop", "run_execution_properties": {"a": "b"}},
        {"action": "run", "kill_after": 60},
        {"action": "stop", "kill_after": 600, "wait_timeout": 60},
        {"action": "run", "wait": False, "if_running": "queue"},
        {"action": "run", "wait": False, "if_running": "restart"},
        {"action": "run", "wait": False, "on_timeout": "stop"},
        {"action": "run", "wait": False, "fail_on_warning": True},
    ],
)
def test_combinations_that_make_no_sense(library: InProcess, options: dict[str, Any]) -> None:
    done = library(etl_id=101, **options)
    assert done.failed
    assert done["error"]["kind"] == "invalid_option"
    assert library.control.requests() == []


def test_info(library: InProcess) -> None:
    put(library, 101, last_exec_age=500)
    put(library, 102, state="SERVICE_ON", kind="service", name="vCenter Service")
    put(library, 103, state=None)
    everything = library("etl_info")
    assert [e["etl_id"] for e in everything["etls"]] == [101, 102, 103]
    assert [e["kind"] for e in everything["etls"]] == ["batch", "service", "unknown"]
    assert [e["executing"] for e in everything["etls"]] == [False, True, False]
    assert abs(everything["etls"][0]["age_seconds"] - 500) <= 2
    assert everything["etls"][2]["status"] is None
    assert not everything.changed
    assert [e["etl_id"] for e in library("etl_info", etl_id=[103, 101])["etls"]] == [103, 101]
    assert [e["etl_id"] for e in library("etl_info", etl_name="vCenter Service")["etls"]] == [102]
    assert [e["etl_id"] for e in library("etl_info", name_pattern="load*")["etls"]] == [101, 103]
    assert library("etl_info", name_pattern="nothing*")["etls"] == []
    assert "status" not in library("etl_info", gather_status=False)["etls"][0]
    missing = library("etl_info", etl_id=999)
    assert missing.failed
    assert "999" in missing["msg"]
    assert writes(library) == 0


def test_wait_for_what_was_started_elsewhere(library: InProcess) -> None:
    put(library, 101, start_lag=30)
    put(library, 102, exit="ERROR")
    started = library(action="run", etl_id=[101, 102], wait=False)
    assert started.outcomes == ["accepted", "accepted"]
    before = writes(library)
    done = library("etl_wait", etl_id=[101, 102], baseline=started["etls"])
    assert done.failed
    assert done.outcomes == ["succeeded", "failed"]
    assert not done.changed
    assert writes(library) == before
    assert library("etl_wait", etl_id=101).outcome == "nothing_to_do"
    assert library("etl_wait", etl_id=101, until="idle").outcome == "idle"


def test_wait_until_it_executes(library: InProcess) -> None:
    put(library, 101)
    library.clock.at(40, lambda: library.control.start(101, duration=50))
    assert library("etl_wait", etl_id=101, until="executing").outcome == "executing"
    assert library("etl_wait", etl_id=101, until="idle").outcome == "idle"
    late = library("etl_wait", etl_id=101, until="executing", wait_timeout=60)
    assert late.failed
    assert late.outcome == "timed_out"


def test_wait_in_check_mode_does_not_wait(library: InProcess) -> None:
    put(library, 101)
    predicted = library(action="run", etl_id=101, wait=False, check=True)
    done = library("etl_wait", etl_id=101, baseline=predicted["etls"], check=True)
    assert not done.failed
    assert done.seconds < 1


def test_a_baseline_that_is_none(library: InProcess) -> None:
    done = library("etl_wait", etl_id=101, baseline=[{"something": "else"}])
    assert done["error"]["kind"] == "invalid_option"
    assert "baseline" in done["msg"]
    assert library.control.requests() == []
