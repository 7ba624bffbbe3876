# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wait reports its progress, and a task that has ended launches nothing more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.functional.support import (
    INVENTORY,
    without_internals,
    write_playbook,
)

RUN_THREE = """
- name: Refresh
  capacityops.bmc_helix.etl_action:
    action: run
    etl_name: [Load A, Load B, Load C]
    poll_interval: 1
"""
RUN_IN_A_ROW = """
- name: Refresh
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: [701, 702, 703, 704]
    max_parallel: 1
"""
#: What may differ between two runs of the same task.
VOLATILE = {"timeline", "started_at", "elapsed_seconds", "polls", "task_execution_request_id", "msg", "before", "after"}


def scene(simulator: Any, duration: float = 3) -> None:
    for etl_id, name, exit_code in ((701, "Load A", "OK"), (702, "Load B", "ERROR"), (703, "Load C", "WARNING")):
        simulator.control.put_etl(
            etl_id, name=name, kind="batch", state="ENDED", duration=duration, start_lag=1, exit=exit_code
        )
    simulator.control.put_etl(704, name="Load D", kind="batch", state="ENDED", duration=duration, start_lag=1)


def stable(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in VOLATILE} for entry in entries]


def launches(simulator: Any) -> int:
    return sum(simulator.control.counters()["accepted_by_etl"].values())


def wait_for(fact: Callable[[], Any], what: str, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


def test_each_change_is_reported_and_the_result_is_that_of_the_module_alone(simulator, play, module):
    scene(simulator)
    played = play(RUN_THREE, allow_warnings=True)
    task = played.task("Refresh")
    assert task.failed
    for etl_id, name, end in ((701, "Load A", "succeeded"), (702, "Load B", "FAILED"), (703, "Load C", "warning")):
        lines = [line for line in played.output.splitlines() if line.startswith(f"  ETL {etl_id} ({name}): ")]
        assert "request accepted (id " in lines[0], played.output
        assert any(": RUNNING (" in line for line in lines)
        assert f": {end}" in lines[-1]
    assert simulator.control.counters()["logins"] == 1
    assert "BMC_HELIX_CHANNEL" not in str(task.result)

    scene(simulator)
    simulator.control.speed(10)
    alone = module("etl_action", action="run", etl_name=["Load A", "Load B", "Load C"], poll_interval=1)
    assert stable(alone["etls"]) == stable(task["etls"])
    assert [e["outcome"] for e in alone["etls"]] == ["succeeded", "failed", "warning"]
    told = set(without_internals(task.result))
    assert set(alone.result) - {"invocation", "failed"} == told - {"invocation", "failed", "exception"}


def test_several_hosts_are_told_apart_and_one_task_launches_an_etl_once(simulator, play, tmp_path):
    """Four hosts, delegate_to and no run_once: one launch, and every host gets the verdict."""
    scene(simulator)
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(
        "[all:vars]\nansible_connection=local\nansible_python_interpreter={{ ansible_playbook_python }}\n"
        "[tenants]\nnorth\nsouth\neast\nwest\n",
        encoding="utf-8",
    )
    task = """
    - name: Refresh
      capacityops.bmc_helix.etl_action:
        action: run
        etl_id: 701
      delegate_to: localhost
    """
    played = play(task, hosts="tenants", inventory=inventory, arguments=("--forks", "2"))
    assert played.rc == 0, played.output
    assert launches(simulator) == 1
    results = [task.result for task in played.tasks if task.task == "Refresh"]
    assert [r["etl"]["outcome"] for r in results] == ["succeeded"] * 4
    assert sorted(r["changed"] for r in results) == [False, False, False, True]
    assert "  [north] ETL 701" in played.output or "  [south] ETL 701" in played.output


@pytest.mark.full
@pytest.mark.full
@pytest.mark.parametrize("keyword", ["async: 60\n  poll: 1", "delegate_to: elsewhere", "loop: [1, 2]"])
def test_keywords_of_tasks(simulator, play, keyword, tmp_path):
    simulator.control.put_etl(321, name="x", kind="batch", state="ENDED", duration=1)
    inventory = tmp_path / "hosts.ini"
    # The folder for async is explicit: Ansible and the module find different home folders in a test.
    inventory.write_text(
        "[all:vars]\nansible_connection=local\nansible_python_interpreter={{ ansible_playbook_python }}\n"
        f"ansible_async_dir={tmp_path / 'async'}\n[all]\nlocalhost\nelsewhere\n",
        encoding="utf-8",
    )
    task = f"""
- name: Refresh
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: 321
  {keyword}
"""
    played = play(task, inventory=inventory)
    result = played.task("Refresh").result
    entry = result["results"][-1]["etl"] if "loop" in keyword else result["etl"]
    assert entry["outcome"] == "succeeded"
    assert played.rc == 0
    if "loop" in keyword:
        assert launches(simulator) == 2, "the same task on the same host means two runs"


class Interrupted:
    """ansible-playbook in a session of its own, interrupted when the first ETL runs."""

    def __init__(self, environment: dict[str, str], folder: Path, tasks: str) -> None:
        playbook = write_playbook(folder, tasks, "localhost", {})
        self.output = folder / "output.txt"
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), str(playbook)]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")


@pytest.fixture
def interrupted(environment: dict[str, str], tmp_path: Path) -> Any:
    started: list[Interrupted] = []

    def start(tasks: str) -> Interrupted:
        started.append(Interrupted(environment, tmp_path, tasks))
        return started[0]

    yield start
    for item in started:
        if item.process.poll() is None:
            os.killpg(item.process.pid, signal.SIGKILL)
            item.process.wait()


@pytest.mark.full
@pytest.mark.parametrize(
    ("send", "is_told"),
    [
        (lambda pid: os.killpg(pid, signal.SIGINT), True),
        (lambda pid: os.kill(pid, signal.SIGTERM), False),
        (lambda pid: os.kill(pid, signal.SIGKILL), False),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_a_task_that_was_ended_launches_nothing_more(simulator, interrupted, send, is_told):
    scene(simulator, duration=2)
    player = interrupted(RUN_IN_A_ROW)
    wait_for(lambda: "1 running" in player.text, "the ETL never ran")
    module = module_of(player.process.pid)
    send(player.process.pid)
    player.process.wait(20)
    assert launches(simulator) == 1
    # Its run ends; whoever still lived would start the next one now.
    wait_for(lambda: simulator.control.status(701)["state"] == "ENDED", "the run does not end")
    wait_for(lambda: not is_alive(module), "the module lives on")
    assert launches(simulator) == 1
    if is_told:
        assert "ETL 701" in player.text
        assert "continues on the server" in player.text


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def module_of(player: int) -> int:
    """The process of the module that this ansible-playbook has started."""
    table = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    parents = {}
    modules = []
    for line in table.splitlines():
        pid, parent, arguments = line.split(None, 2)
        parents[int(pid)] = int(parent)
        if re.match(r"\S*python\S* \S*AnsiballZ_etl_action", arguments):
            modules.append(int(pid))
    for module in modules:
        ancestor = module
        while ancestor in parents and ancestor != player:
            ancestor = parents[ancestor]
        if ancestor == player:
            return module
    raise AssertionError(f"no module below {player}:\n{table}")


@pytest.mark.full
def test_the_task_keyword_timeout_names_what_was_started(simulator, interrupted):
    scene(simulator, duration=60)
    player = interrupted(RUN_IN_A_ROW + "  timeout: 12\n")
    player.process.wait(60)
    assert player.process.returncode == 2
    assert launches(simulator) == 1, player.text
    assert "The task ended early. Addressed so far: ETL 701: RUNNING" in player.text


@pytest.mark.full
def test_a_module_that_dies_does_not_take_what_it_started_with_it(simulator, interrupted):
    scene(simulator, duration=60)
    player = interrupted(RUN_IN_A_ROW)
    wait_for(lambda: "1 running" in player.text, "the ETL never ran")
    module = module_of(player.process.pid)
    os.kill(module, signal.SIGKILL)
    player.process.wait(30)
    assert '"outcome": "unconfirmed"' in player.text, player.text
    assert "was started, and how it ended is not known" in player.text, player.text
    assert launches(simulator) == 1
