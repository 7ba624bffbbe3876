# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""etl_wait: until finished, executing or idle, with and without the baseline of an earlier result."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.inprocess import Done, InProcess, assert_documented

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
RUNNING = {"state": "RUNNING", "duration": 60}


def wait(library: InProcess, **options: Any) -> Done:
    done = library("etl_wait", **{"etl_id": ETL, **options})
    assert_documented("etl_wait", done.result)
    assert not done.changed
    return done


@pytest.mark.parametrize(
    ("etl", "until", "outcome"),
    [
        ({}, "finished", "nothing_to_do"),
        ({"state": "ENDED"}, "finished", "nothing_to_do"),
        (RUNNING, "finished", "succeeded"),
        ({**RUNNING, "ts_semantics": "start"}, "finished", "succeeded"),
        ({**RUNNING, "exit": "WARNING"}, "finished", "warning"),
        ({**RUNNING, "kind": "periodic"}, "finished", "succeeded"),
        ({"state": "ENDED"}, "idle", "idle"),
        ({"state": "WAITING"}, "idle", "idle"),
        ({}, "idle", "idle"),
        (RUNNING, "idle", "idle"),
        ({**RUNNING, "exit": "ERROR"}, "idle", "idle"),
        (RUNNING, "executing", "executing"),
        ({"kind": "service", "state": "SERVICE_ON"}, "executing", "executing"),
        ({"kind": "service", "state": "SERVICE_OFF"}, "idle", "idle"),
    ],
)
def test_without_a_baseline(library: InProcess, etl: dict[str, Any], until: str, outcome: str) -> None:
    library.control.put_etl(ETL, **etl)
    done = wait(library, until=until)
    assert (done.outcome, done.failed) == (outcome, False), done["msg"]
    waits = etl.get("state") == "RUNNING" and until != "executing"
    # "No value" is confirmed for five seconds.
    assert (55 < done.seconds < 70) if waits else done.seconds <= (1 if etl else 5)
    assert library.control.counters()["writes"] == 0


@pytest.mark.parametrize(
    ("exit_code", "options", "outcome", "kind"),
    [
        ("ERROR", {}, "failed", "exit_error"),
        ("WARNING", {"fail_on_warning": True}, "warning", "exit_warning"),
        (None, {}, "failed", "exit_error"),
    ],
)
def test_bad_ends(library: InProcess, exit_code: str, options: dict[str, Any], outcome: str, kind: str) -> None:
    library.control.put_etl(ETL, **RUNNING, exit=exit_code)
    done = wait(library, **options)
    assert (done.outcome, done.failed, done["error"]["kind"]) == (outcome, True, kind)


@pytest.mark.parametrize("stamps", ["start", "end"])
@pytest.mark.parametrize("pause", [0, 30, 200])
@pytest.mark.parametrize("state", ["ENDED", None, "RUNNING"])
def test_baseline_of_a_run_without_waiting(library: InProcess, stamps: str, pause: float, state: str) -> None:
    """Started, attached to, not yet started, running, long over: each is the execution that is meant."""
    library.control.put_etl(
        ETL, state=state, exit_code="ERROR" if state else None, exit="OK", duration=60, start_lag=10,
        ts_semantics=stamps, last_exec_age=900 if state else None,
    )  # fmt: skip
    started = library(action="run", etl_id=ETL, wait=False)
    library.clock.sleep(pause)
    done = wait(library, baseline=started["etls"])
    assert (done.outcome, done.failed) == ("succeeded", False), done["msg"]
    assert len(library.control.executions(ETL)) == 1
    truth = library.control.executions(ETL)[0]
    assert truth["ended_at"] is not None, "it was green before the end"


def test_baseline_of_check_mode_waits_for_nothing(library: InProcess) -> None:
    library.control.put_etl(ETL, state="ENDED")
    started = library(action="run", etl_id=ETL, wait=False, check=True)
    done = library("etl_wait", etl_id=ETL, baseline=started["etls"], check=True)
    assert (done.outcome, done.failed) == ("nothing_to_do", False)
    assert done.seconds < 1


def test_until_executing_in_vain(library: InProcess) -> None:
    library.control.put_etl(ETL, state="ENDED")
    done = wait(library, until="executing", wait_timeout=60)
    assert (done.outcome, done.failed) == ("timed_out", True)
    assert "was not executing after 60 s" in done["msg"]


@pytest.mark.parametrize("until", ["finished", "idle"])
def test_too_long(library: InProcess, until: str) -> None:
    library.control.put_etl(ETL, state="RUNNING", duration=None)
    done = wait(library, until=until, wait_timeout=60)
    assert (done.outcome, done.failed) == ("timed_out", True)
    assert 60 <= done.seconds < 61


def test_service_is_finished_when_it_is_off(library: InProcess) -> None:
    library.control.put_etl(ETL, kind="service", state="SERVICE_ON")
    library.clock.at(30, lambda: library.control.finish(ETL))
    done = wait(library)
    assert (done.outcome, done.failed) == ("service_off", False)
    assert 30 <= done.seconds < 40


def test_several(library: InProcess) -> None:
    library.control.put_etl(1, state="RUNNING", duration=30)
    library.control.put_etl(2, state="RUNNING", duration=60, exit="ERROR")
    library.control.put_etl(3, state="ENDED")
    done = library("etl_wait", etl_name=["ETL 2", "ETL 3", "ETL 1"])
    assert_documented("etl_wait", done.result)
    assert done.outcomes == ["failed", "nothing_to_do", "succeeded"]
    assert "1 of 3 ETLs failed" in done["msg"]
    assert library.control.counters()["writes"] == 0


@pytest.mark.parametrize(
    "baseline", [[1], [{}], ["x"], [{"etl_id": 5}], [{"etl_id": "x", "before": {}}], [{"etl_id": 0, "before": {}}]]
)
def test_bad_baselines(library: InProcess, baseline: list[Any]) -> None:
    library.control.put_etl(ETL)
    done = library("etl_wait", etl_id=ETL, baseline=baseline)
    assert done.failed
    assert "baseline" in done["msg"]
    assert library.control.requests() == []
