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


def test_service_is_finished_when_it_is_off(library: InProcess) -> None:
    library.control.put_etl(ETL, kind="service", state="SERVICE_ON")
    library.clock.at(30, lambda: library.control.finish(ETL))
    done = wait(library)
    assert (done.outcome, done.failed) == ("service_off", False)
    assert 30 <= done.seconds < 40
