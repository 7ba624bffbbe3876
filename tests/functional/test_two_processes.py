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


@pytest.mark.parametrize("start_lag", [0, 5])
@pytest.mark.parametrize("style", ["error", "http_500", "queue", "parallel"])
def test_run(module: Callable[..., ModuleRun], simulator: SimulatorProcess, style: str, start_lag: float) -> None:
    simulator.control.speed(10)
    simulator.control.put_etl(ETL, state="ENDED", duration=15, run_when_running=style, start_lag=start_lag)
    # The first status answers wait for some real time, so that both look before either of them acts.
    simulator.control.fault({"exchange": "status"}, {"kind": "slow_after", "seconds": 0.8}, times=2)
    results: list[ModuleRun] = []

    def one() -> None:
        results.append(module("etl_action", action="run", etl_id=ETL, start_timeout=20))

    threads = [threading.Thread(target=one) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2, "one of them crashed"
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


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("options", "keywords", "serial", "forks", "runs"),
    [
        ({}, {"async": 120, "poll": 1}, 4, 4, 1),
        ({}, {}, 2, 4, 2),
        # One after the other: at the same moment, the server refuses one of them.
        ({"run_execution_properties": {"for": "{{ inventory_hostname }}"}}, {}, 4, 1, 4),
    ],
    ids=["async", "in two batches", "own properties"],
)
def test_one_task_for_four_hosts_starts_one_run(
    play: Callable[..., Played],
    simulator: SimulatorProcess,
    tmp_path: Path,
    options: dict[str, Any],
    keywords: dict[str, Any],
    serial: int,
    forks: int,
    runs: int,
) -> None:
    simulator.control.speed(10)
    simulator.control.put_etl(ETL, state="ENDED", duration=15, start_lag=5)
    settings = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    settings["ansible_async_dir"] = str(tmp_path / "jobs")
    inventory = tmp_path / "four.yml"
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys("abcd", settings)}}))
    task = {"capacityops.bmc_helix.etl_action": {"action": "run", "etl_id": ETL, **options}, **keywords}
    header = f"- hosts: all\n  gather_facts: false\n  serial: {serial}\n"
    arguments = ("--forks", str(forks))
    played = play(f"{header}  tasks: {json.dumps([task])}\n", inventory=inventory, arguments=arguments)
    assert played.rc == 0, played.output
    assert [task["etl"]["outcome"] for task in played.tasks] == ["succeeded"] * 4
    assert sum(task["changed"] for task in played.tasks) == runs
    assert simulator.control.counters()["writes"] == runs
