# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wait is not silent, and its result is the same as without the progress lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._following import Reporter, _cut_off, heartbeat

from tests.functional.support import without_internals

pytestmark = pytest.mark.measured

RUN_THREE = """
- name: Refresh
  capacityops.bmc_helix.etl_action:
    action: run
    etl_name: [Load A, Load B, Load C]
    poll_interval: 1
"""
#: What may differ between two runs of the same task.
VOLATILE = {"timeline", "started_at", "elapsed_seconds", "polls", "task_execution_request_id", "msg", "before", "after"}


def scene(simulator: Any) -> None:
    for etl_id, name, exit_code in ((701, "Load A", "OK"), (702, "Load B", "ERROR"), (703, "Load C", "WARNING")):
        simulator.control.put_etl(
            etl_id, name=name, kind="batch", state="ENDED", duration=13, start_lag=1, exit=exit_code
        )


def stable(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in VOLATILE} for entry in entries]


def test_progress_lines_come_and_the_result_is_that_of_the_module_alone(simulator, play, module):
    scene(simulator)
    played = play(RUN_THREE)
    task = played.task("Refresh")
    assert task.failed
    lines = [line for line in played.stderr.splitlines() if line.startswith("  ETL 70")]
    assert any("ETL 701 (Load A): RUNNING" in line for line in lines), played.stderr
    assert len(lines) == 3, lines
    assert simulator.control.counters()["logins"] == 1, "a slice boundary costs no login"
    assert "_slice" not in str(task.result)

    scene(simulator)
    simulator.control.speed(10)
    alone = module("etl_action", action="run", etl_name=["Load A", "Load B", "Load C"], poll_interval=1)
    assert stable(alone["etls"]) == stable(task["etls"])
    told = set(without_internals(task.result))
    assert set(alone.result) - {"invocation", "failed"} == told - {"invocation", "failed", "exception"}
    assert [e["outcome"] for e in alone["etls"]] == ["succeeded", "failed", "warning"]


@pytest.mark.full
def test_no_log_hides_names_and_states(simulator, play):
    simulator.control.put_etl(701, name="Load A", kind="batch", state="ENDED", duration=13, start_lag=1)
    played = play(RUN_THREE.replace("[Load A, Load B, Load C]", "Load A") + "  no_log: true\n")
    assert "  waiting (1" in played.stderr
    assert "701" not in played.output
    assert "Load A" not in played.output


@pytest.mark.full
def test_several_hosts_are_told_apart(simulator, play, tmp_path):
    scene(simulator)
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(
        "[all:vars]\nansible_connection=local\nansible_python_interpreter={{ ansible_playbook_python }}\n"
        "[all]\nnorth load=Load\\ A\nsouth load=Load\\ C\n",
        encoding="utf-8",
    )
    played = play(RUN_THREE.replace("[Load A, Load B, Load C]", '"{{ load }}"'), hosts="all", inventory=inventory)
    assert "  [north] ETL 701" in played.stderr
    assert "  [south] ETL 703" in played.stderr


@pytest.mark.full
@pytest.mark.parametrize("keyword", ["async: 60\n  poll: 1", "delegate_to: elsewhere", "loop: [1, 2]"])
def test_keywords_of_tasks_behave(simulator, play, keyword, tmp_path):
    simulator.control.put_etl(321, name="x", kind="batch", state="ENDED", duration=1)
    inventory = tmp_path / "hosts.ini"
    # The folder for async is said outright: Ansible and the module find different home folders in a test.
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


def test_a_module_that_dies_in_the_middle_does_not_take_what_was_started_with_it(simulator, play, tmp_path):
    """The second slice fails before it can look: what was started is in the result all the same."""
    scene(simulator)
    certificate = tmp_path / "ca.pem"
    certificate.write_bytes(Path(simulator.ca_file).read_bytes())
    tasks = f"""
- name: Take the CA away after a while
  ansible.builtin.shell: "(sleep 7; rm -f '{certificate}') >/dev/null 2>&1 &"
- name: Refresh
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: 701
    ca_path: "{certificate}"
"""
    played = play(tasks)
    task = played.task("Refresh")
    assert task.failed
    assert task["etls"][0]["outcome"] == "unconfirmed"
    assert task["etls"][0]["etl_id"] == 701
    assert "701" in task["etls"][0]["msg"]
    assert "does not exist" in task["msg"]
    assert "ETL 701 got the run request" in task["msg"], "who reads only the message must learn that it was started"
    assert task.changed
    assert task["etl"] == task["etls"][0]


def progress(etl_id: int, **fields: Any) -> Progress:
    return Progress(etl_id, began=0.0, **fields)


def test_many_etls_share_one_line():
    reporter = Reporter("[north] ")
    items = [progress(n, sent="run", seen_executing=True, last=["RUNNING", None, None]) for n in range(1, 9)]
    items[0].phase, items[0].outcome, items[0].ended = "done", "failed", 3.0
    items[7] = Progress(8)
    lines = reporter.lines(items, 130)
    assert lines == [
        "  [north] 2 min: 8 ETLs: 1 failed (ETL 1), 6 RUNNING (ETL 2, 3, 4 …), 1 waiting for their turn (ETL 8)"
    ]


def test_an_etl_that_is_done_is_told_once():
    reporter = Reporter("")
    done = progress(1, phase="done", outcome="succeeded", ended=12.0)
    other = progress(2, sent="run", last=["ENDED", "OK", None])
    assert reporter.lines([done, other], 12) == [
        "  ETL 1: succeeded after 12 s",
        "  ETL 2: requested, not started yet, still shows ENDED (12 s)",
    ]
    assert reporter.lines([done, other], 30) == ["  ETL 2: requested, not started yet, still shows ENDED (30 s)"]


def test_an_etl_that_waited_for_its_turn_when_the_module_died_was_not_started():
    died = HelixError("The file of ca_path does not exist.")
    begun = _cut_off(progress(1, phase="follow", sent="run", accepted=True, changed=True), died, 12.0)
    other = _cut_off(Progress(2), died, 12.0)
    assert (begun.outcome, other.outcome) == ("unconfirmed", "failed")
    assert "ETL 1 got the run request" in begun.reason
    assert (begun.ended, other.ended) == (12.0, None)
    assert other.reason == "ETL 2: The file of ca_path does not exist."


def test_the_heartbeat_grows_sparser():
    beats = [heartbeat(n) for n in range(20)]
    assert beats == sorted(beats)
    assert beats[0] == 10
    assert beats[-1] == 120
