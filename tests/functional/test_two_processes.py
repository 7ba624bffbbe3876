# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two processes start the same ETL at the same moment.

The API has no lock and no state of a single execution, so this cannot be prevented. What must hold: nobody crashes,
each process asks at most once, and each result tells the truth about what its own request led to.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import ModuleRun, Played
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

ETL = 321
#: Real seconds that the first status answers wait, so that both look before either of them acts.
TOGETHER = 0.8


def both(
    module: Callable[..., ModuleRun], between: Callable[[], Any] = lambda: None, **options: Any
) -> list[ModuleRun]:
    """The results of two processes at the same time; `between` is called while they are under way."""
    results: list[ModuleRun] = []

    def one() -> None:
        results.append(module("etl_action", etl_id=ETL, **options))

    threads = [threading.Thread(target=one) for _number in range(2)]
    for thread in threads:
        thread.start()
    try:
        between()
    finally:
        for thread in threads:
            thread.join()
    assert len(results) == 2, "one of them crashed"
    return results


def set_scene(simulator: SimulatorProcess, **etl: Any) -> None:
    simulator.control.speed(10)
    simulator.control.put_etl(ETL, **{"state": "ENDED", "duration": 15, **etl})
    simulator.control.fault({"exchange": "status"}, {"kind": "slow_after", "seconds": TOGETHER}, times=2)


def both_before_the_effect(
    module: Callable[..., ModuleRun], simulator: SimulatorProcess, action: str, **etl: Any
) -> list[ModuleRun]:
    """Time stands still until both requests have come, so that neither process sees what the other did."""
    simulator.control.speed(0)
    simulator.control.put_etl(ETL, **dict.fromkeys(("start_lag", "schedule_lag", "stop_lag", "kill_lag"), 5), **etl)

    def have_come() -> None:
        simulator.control.wait_until(lambda control: len(control.requests(exchange=action)) == 2, timeout=60)
        simulator.control.advance(10)

    return both(module, have_come, action=action)


@pytest.mark.parametrize("start_lag", [0, 5])
@pytest.mark.parametrize("style", ["error", "http_500", "queue", "parallel"])
def test_run(module: Callable[..., ModuleRun], simulator: SimulatorProcess, style: str, start_lag: float) -> None:
    set_scene(simulator, run_when_running=style, start_lag=start_lag)
    results = both(module, action="run", start_timeout=20)
    posts = simulator.control.requests(exchange="run")
    executions = simulator.control.executions(ETL)
    assert len(posts) <= 2, "each of them asks at most once"
    outcomes = sorted(result["etl"]["outcome"] for result in results)
    accepted = simulator.control.counters()["accepted_by_etl"][ETL]
    assert accepted <= 2
    assert 1 <= len(executions) <= 2
    if len(posts) == 2 and accepted == 1 and style == "error":
        # The loser of the race is told so by the server.
        assert outcomes == ["failed", "succeeded"]
        loser = next(result for result in results if result.failed)
        assert loser["error"]["kind"] == "request_refused"
        assert "Its state now: RUNNING" in loser["msg"]
        assert not loser.changed
    else:
        # Whose request was answered with 500 finds a run and adopts it; the others have a run each, or follow one.
        assert outcomes == ["succeeded", "succeeded"], [result["msg"] for result in results]
    for result in results:
        if not result.failed:
            assert "exit OK" in result["msg"]


def test_schedule(module: Callable[..., ModuleRun], simulator: SimulatorProcess) -> None:
    results = both_before_the_effect(module, simulator, "schedule", state="ENDED")
    assert [result["etl"]["outcome"] for result in results] == ["scheduled", "scheduled"]
    assert simulator.control.status(ETL)["state"] == "WAITING"


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_stop_and_kill(module: Callable[..., ModuleRun], simulator: SimulatorProcess, action: str) -> None:
    """Both want the same, and it has come: both tasks succeed."""
    results = both_before_the_effect(module, simulator, action, state="RUNNING", duration=None)
    assert [result["etl"]["outcome"] for result in results] == ["stopped", "stopped"]
    assert simulator.control.status(ETL)["executing"] == 0


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_stop_and_kill_that_come_too_late(
    module: Callable[..., ModuleRun], simulator: SimulatorProcess, action: str
) -> None:
    """The server rejects the second request, unless its process is so late that it sees the end before."""
    set_scene(simulator, state="RUNNING", duration=None, when_idle="error")
    results = both(module, action=action)
    outcomes = sorted(result["etl"]["outcome"] for result in results)
    posts = simulator.control.requests(exchange=action)
    second = "stopped" if len(posts) == 2 else "nothing_to_do"
    assert outcomes == sorted([second, "stopped"]), [result["msg"] for result in results]
    assert simulator.control.status(ETL)["executing"] == 0


def test_service(module: Callable[..., ModuleRun], simulator: SimulatorProcess) -> None:
    results = both_before_the_effect(module, simulator, "run", kind="service", state="SERVICE_OFF")
    assert [result["etl"]["outcome"] for result in results] == ["service_on", "service_on"]
    assert len(simulator.control.executions(ETL)) == 1


def test_one_stops_what_the_other_runs(module: Callable[..., ModuleRun], simulator: SimulatorProcess) -> None:
    simulator.control.speed(10)
    simulator.control.put_etl(ETL, duration=None, stop_exit=None, stop_state="ABORTED")
    results: dict[str, ModuleRun] = {}
    runner = threading.Thread(target=lambda: results.update(run=module("etl_action", action="run", etl_id=ETL)))
    runner.start()
    simulator.control.wait_until(lambda control: control.executions(ETL), timeout=30)
    results["stop"] = module("etl_action", action="stop", etl_id=ETL)
    runner.join()
    assert results["stop"]["etl"]["outcome"] == "stopped"
    assert results["run"]["etl"]["outcome"] == "aborted"
    assert "Someone stopped or killed it" in results["run"]["msg"]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("serial", "keywords", "runs"),
    [(100, {"async": 120, "poll": 1}, 1), (2, {}, 2)],
    ids=["async", "in two batches"],
)
def test_one_task_for_four_hosts_starts_one_run(
    play: Callable[..., Played],
    simulator: SimulatorProcess,
    tmp_path: Path,
    serial: int,
    keywords: dict[str, int],
    runs: int,
) -> None:
    simulator.control.speed(10)
    simulator.control.put_etl(ETL, state="ENDED", duration=15, start_lag=5)
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_async_dir": str(tmp_path / "jobs"),
    }
    inventory = tmp_path / "four.yml"
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys("abcd", settings)}}))
    task = {"capacityops.bmc_helix.etl_action": {"action": "run", "etl_id": ETL}, **keywords}
    header = f"- hosts: all\n  gather_facts: false\n  serial: {serial}\n"
    played = play(f"{header}  tasks: {json.dumps([task])}\n", inventory=inventory)
    assert played.rc == 0, played.output
    assert [task["etl"]["outcome"] for task in played.tasks] == ["succeeded"] * 4
    assert sum(task["changed"] for task in played.tasks) == runs
    assert simulator.control.counters()["writes"] == runs
