# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""if_running, max_age, fail_on_warning, on_timeout, kill_after: what they do, in check mode too, and what they
refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import Done, InProcess, assert_documented

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
RUNNING = {"state": "RUNNING", "duration": None}


def sent(library: InProcess) -> list[str]:
    return [entry["exchange"] for entry in library.control.requests(write=True)]


def mine(library: InProcess) -> list[dict[str, Any]]:
    return [execution for execution in library.control.executions(ETL) if isinstance(execution["cause"], int)]


def run(library: InProcess, **options: Any) -> Done:
    done = library(**{"action": "run", "etl_id": ETL, **options})
    assert_documented("etl_action", done.result)
    return done


# --- if_running -------------------------------------------------------------------------------------------------------


def test_queue(library: InProcess) -> None:
    library.control.put_etl(ETL, state="RUNNING", duration=100, exit="ERROR", run_when_running="parallel")
    library.clock.at(50, lambda: library.control.patch_etl(ETL, exit="OK", duration=10))
    done = run(library, if_running="queue")
    assert (done.outcome, done.changed) == ("succeeded", True)
    theirs, ours = library.control.executions(ETL)
    assert ours["started_at"] >= theirs["ended_at"]
    assert done.etl["before"]["exit_code"] == "ERROR", "the baseline is read after the other run"


def test_restart(library: InProcess) -> None:
    library.control.put_etl(ETL, **RUNNING, run_when_running="parallel", stop_lag=20)
    library.clock.at(10, lambda: library.control.patch_etl(ETL, duration=30))
    done = run(library, if_running="restart")
    assert (done.outcome, done.changed) == ("succeeded", True)
    assert sent(library) == ["stop", "run"]
    theirs, ours = library.control.executions(ETL)
    assert ours["started_at"] >= theirs["ended_at"]
    assert done.etl["task_execution_request_id"] == ours["id"]


def test_restart_with_kill_after(library: InProcess) -> None:
    library.control.put_etl(ETL, **RUNNING, run_when_running="parallel", stop_effect="ignored")
    library.clock.at(10, lambda: library.control.patch_etl(ETL, duration=30))
    done = run(library, if_running="restart", kill_after=45)
    assert done.outcome == "succeeded", done["msg"]
    assert sent(library) == ["stop", "kill", "run"]
    moments = {entry["exchange"]: entry["time"] for entry in library.control.requests(write=True)}
    assert 45 <= moments["kill"] - moments["stop"] < 50


def test_restart_that_cannot_stop(library: InProcess) -> None:
    library.control.put_etl(ETL, **RUNNING, stop_effect="ignored", run_when_running="parallel")
    done = run(library, if_running="restart", wait_timeout=100)
    assert (done.outcome, done.failed) == ("timed_out", True)
    assert "was not started" in done["msg"]
    assert "stop request" in done["msg"]
    assert mine(library) == []


def test_restart_is_not_spared_by_what_it_stopped(library: InProcess) -> None:
    """The stopped execution may be recorded with exit OK, of this very moment."""
    library.control.put_etl(ETL, **RUNNING, stop_exit="OK", run_when_running="parallel")
    library.clock.at(0.2, lambda: library.control.patch_etl(ETL, duration=10))
    done = run(library, if_running="restart", max_age=3600)
    assert done.outcome == "succeeded", done["msg"]
    assert len(mine(library)) == 1


def test_restart_whose_run_is_refused_says_that_it_stopped_one(library: InProcess) -> None:
    library.control.put_etl(ETL, **RUNNING)
    library.control.fault({"exchange": "run"}, {"kind": "status", "code": 403}, times=-1)
    done = run(library, if_running="restart")
    assert (done.outcome, done.changed) == ("failed", True)
    assert "had already been stopped" in done["msg"]


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "html_200", "accept_then_status"])
def test_restart_whose_stop_is_lost(library: InProcess, kind: str) -> None:
    library.control.put_etl(ETL, **RUNNING, run_when_running="parallel")
    library.clock.at(0.2, lambda: library.control.patch_etl(ETL, duration=10))
    library.control.fault({"exchange": "stop"}, {"kind": kind})
    done = run(library, if_running="restart")
    assert done.outcome == "succeeded", done["msg"]
    assert len(mine(library)) == 1


@pytest.mark.parametrize("times", [2, 20])
@pytest.mark.parametrize("body", [None, {}])
def test_none_for_a_while_is_no_stop(library: InProcess, times: int, body: Any) -> None:
    library.control.put_etl(ETL, **RUNNING, stop_effect="ignored")
    library.control.fault({"exchange": "status"}, {"kind": "status", "code": 200, "body": body}, skip=1, times=times)
    done = library(action="stop", etl_id=ETL, wait_timeout=200)
    assert done.failed, "it still runs, and the task is green"


@pytest.mark.parametrize("choice", ["attach", "fail", "queue", "restart"])
def test_if_running_in_check_mode(library: InProcess, choice: str) -> None:
    library.control.put_etl(ETL, **RUNNING)
    done = library(action="run", etl_id=ETL, if_running=choice, check=True)
    expected = {
        "attach": ("nothing_to_do", False, False),
        "fail": ("failed", False, True),
        "queue": ("would_run", True, False),
        "restart": ("would_run", True, False),
    }
    assert (done.outcome, done.changed, done.failed) == expected[choice]
    assert sent(library) == []
    assert done.seconds < 1


# --- max_age ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [0, 5 * 3600, -5 * 3600])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("age", [500, 700])
def test_max_age_by_the_clock_of_the_server(library: InProcess, skew: int, check: bool, age: int) -> None:
    library.control.configure(clock_skew=skew)
    library.control.put_etl(ETL, state="ENDED", exit_code="OK", last_exec_age=age)
    done = library(action="run", etl_id=ETL, max_age=600, check=check)
    if age < 600:
        assert (done.outcome, done.changed) == ("fresh", False)
        assert "was not run" in done["msg"]
    else:
        assert (done.outcome, done.changed) == ("would_run" if check else "succeeded", True)
    assert len(sent(library)) == (0 if age < 600 or check else 1)


def test_max_age_is_idempotent(library: InProcess) -> None:
    library.control.put_etl(ETL)
    assert run(library, max_age=600).outcome == "succeeded"
    library.clock.sleep(500)
    assert run(library, max_age=600).outcome == "fresh"
    library.clock.sleep(101)
    assert run(library, max_age=600).outcome == "succeeded"
    assert sent(library) == ["run", "run"]


def test_max_age_without_a_date_header(library: InProcess) -> None:
    """Then only our own clock is left."""
    library.control.configure(date_header=False)
    library.control.put_etl(ETL, state="ENDED", last_exec_age=500)
    assert run(library, max_age=600).outcome == "fresh"


def test_max_age_and_a_time_in_the_future(library: InProcess) -> None:
    library.control.put_etl(ETL, state="ENDED", last_exec_age=-7200)
    assert run(library, max_age=600).outcome == "succeeded", "clocks that are that wrong prove nothing"


# --- on_timeout -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["leave", "stop", "kill"])
@pytest.mark.parametrize("etl", [{"duration": None}, RUNNING])
def test_on_timeout(library: InProcess, choice: str, etl: dict[str, Any]) -> None:
    library.control.put_etl(ETL, **etl, stop_lag=10, kill_lag=10)
    done = run(library, on_timeout=choice, wait_timeout=100)
    assert (done.outcome, done.failed) == ("timed_out", True)
    attached = "state" in etl
    ending = [] if choice == "leave" else [choice]
    assert sent(library) == ([] if attached else ["run"]) + ending
    state = library.control.status(ETL)["state"]
    assert state == {"leave": "RUNNING", "stop": "ENDED", "kill": "ABORTED"}[choice]
    words = {"leave": "It is still running", "stop": "It was then stopped", "kill": "It was then killed"}[choice]
    assert words in done["msg"]
    assert done.etl["after"]["status"] == state
    ours = mine(library)
    assert done.etl["task_execution_request_id"] == (None if attached else ours[0]["id"]), "the run's, not the stop's"
    assert done.changed is (not attached or bool(ending))


def test_on_timeout_never_hits_a_run_that_ended(library: InProcess) -> None:
    library.control.put_etl(ETL, state="ENDED", duration=99.9)
    assert run(library, on_timeout="kill", wait_timeout=100).outcome == "succeeded"
    assert sent(library) == ["run"]


def test_put_off_until_the_deadline(library: InProcess) -> None:
    """The message must not blame a run that does not exist."""
    library.control.put_etl(ETL, state="ENDED")
    library.control.fault({"exchange": "run"}, {"kind": "status", "code": 429, "retry_after": 60}, times=-1)
    done = run(library, wait_timeout=100)
    assert (done.failed, done.changed) == (True, False)
    assert "429" in done["msg"]
    assert "under way" not in done["msg"]


# --- kill_after -------------------------------------------------------------------------------------------------------


def test_kill_after(library: InProcess) -> None:
    library.control.put_etl(ETL, **RUNNING, stop_effect="ignored")
    done = library(action="stop", etl_id=ETL, kill_after=30)
    assert (done.outcome, done.changed, done.failed) == ("stopped", True, False)
    assert sent(library) == ["stop", "kill"]
    assert "did not stop in time (kill_after) and was killed" in done["msg"]
    assert library.control.status(ETL)["state"] == "ABORTED"
    assert 30 <= done.seconds < 35


# --- refused combinations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"action": "stop", "max_age": 5}, "max_age cannot be used with action: stop"),
        (
            {"action": "stop", "secret_run_execution_properties": {"a": "longenough"}},
            "cannot be used with action: stop",
        ),
        ({"action": "run", "if_running": "queue", "wait": False}, "if_running: queue cannot be used with wait: false"),
    ],
)
def test_refused_combinations(library: InProcess, options: dict[str, Any], words: str, check: bool) -> None:
    """Nothing is sent; tests/unit/.../test_plan.py has all of them."""
    library.control.put_etl(ETL)
    done = library(etl_id=ETL, check=check, **options)
    assert done["error"]["kind"] == "invalid_option"
    assert words in done["msg"]
    assert library.control.requests() == []
