# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wait reports its progress, and a task that has ended launches nothing more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.functional.support import INVENTORY, started, wait_for, without_internals, write_playbook

NAMES = ["Load A", "Load B", "Load C"]
RUN = "- name: Refresh\n  capacityops.bmc_helix.etl_action: {action: run, %s, poll_interval: 1}\n"
#: What may differ between two runs of the same task.
VOLATILE = {"timeline", "started_at", "elapsed_seconds", "polls", "task_execution_request_id", "msg", "before", "after"}


def scene(simulator: Any, duration: float = 3) -> None:
    for etl_id, name, exit_code in zip((701, 702, 703), NAMES, ("OK", "ERROR", "WARNING")):
        simulator.control.put_etl(etl_id, name=name, state="ENDED", duration=duration, start_lag=1, exit=exit_code)


def stable(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in VOLATILE} for entry in entries]


def launches(simulator: Any) -> int:
    return sum(simulator.control.counters()["accepted_by_etl"].values())


def test_each_change_is_reported_and_the_result_is_that_of_the_module_alone(simulator, play, module):
    scene(simulator)
    played = play(RUN % f"etl_name: {json.dumps(NAMES)}", allow_warnings=True)
    task = played.task("Refresh")
    assert task.failed
    for etl_id, name, end in zip((701, 702, 703), NAMES, ("succeeded", "FAILED", "warning")):
        lines = [line for line in played.output.splitlines() if line.startswith(f"  ETL {etl_id} ({name}): ")]
        assert "request accepted (id " in lines[0], played.output
        assert any(": RUNNING (" in line for line in lines)
        assert f": {end}" in lines[-1]
    assert simulator.control.counters()["logins"] == 1
    assert "BMC_HELIX_CHANNEL" not in str(task.result)

    scene(simulator)
    simulator.control.speed(10)
    alone = module("etl_action", action="run", etl_name=NAMES, poll_interval=1)
    assert stable(alone["etls"]) == stable(task["etls"])
    assert [e["outcome"] for e in alone["etls"]] == ["succeeded", "failed", "warning"]
    told = set(without_internals(task.result))
    assert set(alone.result) - {"invocation", "failed"} == told - {"invocation", "failed", "exception"}


def test_several_hosts_are_told_apart_and_one_task_launches_an_etl_once(simulator, play, tmp_path):
    """With delegate_to, and without run_once. On the same host, the items of a loop are runs of their own."""
    scene(simulator, duration=1)
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": dict.fromkeys(("north", "south", "east"), host)}}))
    tasks = (
        RUN % "etl_id: 701" + "  delegate_to: localhost\n" + RUN % "etl_id: 701" + "  loop: [1, 2]\n  run_once: true\n"
    )
    played = play(tasks, hosts="all", inventory=inventory, arguments=("--forks", "2"))
    assert played.rc == 0, played.output
    *hosts, loop = [task.result for task in played.tasks]
    assert [result["etl"]["outcome"] for result in [*hosts, *loop["results"]]] == ["succeeded"] * 5
    assert sorted(result["changed"] for result in hosts) == [False, False, True]
    assert launches(simulator) == 3
    assert re.search(r"^  \[(north|south|east)\] ETL 701", played.output, re.MULTILINE)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def module_of(player: int) -> int:
    """The process of the module that this ansible-playbook has started."""
    table = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in table.splitlines()]
    parents = {pid: parent for pid, parent, _arguments in rows}
    for pid, _parent, arguments in rows:
        ancestor = pid if re.match(r"\S*python\S* \S*AnsiballZ_etl_action", arguments) else ""
        while ancestor in parents and ancestor != str(player):
            ancestor = parents[ancestor]
        if ancestor == str(player):
            return int(pid)
    raise AssertionError(f"no module below {player}:\n{table}")


@pytest.mark.full
@pytest.mark.parametrize(
    ("interrupt", "keyword", "status", "told"),
    [
        (lambda player, _module: os.killpg(player, signal.SIGINT), "", None, "continues on the server"),
        (lambda player, _module: os.kill(player, signal.SIGTERM), "", -signal.SIGTERM, ""),
        (lambda player, _module: os.kill(player, signal.SIGKILL), "", -signal.SIGKILL, ""),
        (lambda _player, module: os.kill(module, signal.SIGKILL), "", 2, '"outcome": "unconfirmed"'),
        (lambda _player, _module: None, "  timeout: 12\n", 2, "Addressed so far: ETL 701: RUNNING"),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL", "module killed", "keyword timeout"],
)
def test_a_task_that_was_ended_launches_nothing_more(
    simulator, environment, tmp_path, interrupt, keyword, status, told
):
    scene(simulator, duration=60)
    playbook = write_playbook(tmp_path, RUN % "etl_id: [701, 702, 703], max_parallel: 1" + keyword, "localhost", {})
    output = tmp_path / "output.txt"
    with started(["ansible-playbook", "-i", INVENTORY, playbook], environment, output) as player:
        wait_for(lambda: re.search("ETL 701.*RUNNING", output.read_text()), output)
        module = module_of(player.pid)
        interrupt(player.pid, module)
        assert player.wait(60) == status or status is None
    # A module that still lived would start the next one now.
    simulator.control.advance(60)
    wait_for(lambda: not is_alive(module), output)
    assert launches(simulator) == 1
    assert told in output.read_text(), output.read_text()
