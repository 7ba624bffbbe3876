# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks of the collection, called by their full names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Playbook = Callable[..., Played]


@pytest.fixture
def imports(play: Callable[..., Played]) -> Playbook:
    """Run several playbooks in one process, until one fails: `imports(("etl_action", {…}), ("etl_stop_all", {…}))`."""

    def run(*playbooks: tuple[str, dict[str, Any]], **keywords: Any) -> Played:
        content = [
            {"ansible.builtin.import_playbook": f"capacityops.bmc_helix.{name}", "vars": variables}
            for name, variables in playbooks
        ]
        return play(yaml.safe_dump(content, sort_keys=False), timeout=250, **keywords)

    return run


def told(done: Played, task: str) -> list[Any]:
    """The messages of all tasks of this name."""
    return [result.result.get("msg") for result in done.tasks if result.task == task and result.status != "skipped"]


# ---- etl_action


@pytest.mark.smoke
def test_etl_action_takes_what_a_survey_sends_and_fails_with_the_module(
    imports: Playbook, simulator: SimulatorProcess
) -> None:
    """A survey sends texts, and an empty text for every question that was left open."""
    for etl_id, duration in ((1, 0.2), (2, 0.2), (7, None)):
        simulator.control.put_etl(etl_id, name=f"Import, {etl_id}", duration=duration)
    survey = dict.fromkeys(
        ("etl_action_wait", "etl_action_max_age", "etl_action_kill_after", "etl_action_etl_name"), ""
    )
    survey |= {"etl_action_action": "run", "etl_action_etl_id": "1, 2", "etl_action_set_stats": "true"}
    started = {"etl_action_action": "run", "etl_action_etl_id": 7, "etl_action_wait": False}
    again = {"etl_action_action": "run", "etl_action_etl_id": [7], "etl_action_if_running": "fail"}
    done = imports(("etl_action", survey), ("etl_action", started), ("etl_action", again))
    assert done.rc == 2
    runs = [task for task in done.tasks if task.task == "Act on the ETLs: run"]
    outcomes = [[etl["outcome"] for etl in run["etls"]] for run in runs]
    assert outcomes[:2] == [["succeeded", "succeeded"], ["accepted"]]
    assert runs[2]["etl"]["error"]["kind"] == "already_running"
    assert simulator.control.counters()["launches_by_etl"] == {1: 1, 2: 1, 7: 1}
    [stats] = [task["ansible_stats"]["data"] for task in done.tasks if "ansible_stats" in task]
    assert stats == {"etl_action_summary": {"1": "succeeded", "2": "succeeded"}}


def test_etl_action_in_check_mode_publishes_nothing(playbook: Playbook, simulator: SimulatorProcess) -> None:
    for etl_id in (1, 2):
        simulator.control.put_etl(etl_id, name=f"Import, {etl_id}")
    names = {"etl_action_etl_name": "Import, 1\nImport, 2\n", "etl_action_set_stats": True}
    done = playbook("etl_action", {"etl_action_action": "run", **names}, check=True)
    assert done.rc == 0, done.output
    assert [etl["outcome"] for etl in done.task("Act on the ETLs: run")["etls"]] == ["would_run", "would_run"]
    assert done.task("Publish the outcomes for a workflow").status == "skipped"


# ---- etl_stop_all


@pytest.mark.smoke
def test_etl_stop_all_ends_all_that_executes(imports: Playbook, simulator: SimulatorProcess) -> None:
    control = simulator.control
    control.put_etl(1, state="RUNNING", duration=None)
    control.put_etl(2, kind="service", state="SERVICE_ON")
    control.put_etl(3, name="Nightly", kind="periodic", state="WAITING")
    control.put_etl(4, state="RUNNING", duration=None, stop_effect="ignored")
    control.put_etl(5, state="ENDED")
    # A state that cannot be read keeps nobody from being stopped.
    control.fault({"exchange": "status", "etl_id": 1}, {"kind": "status", "code": 500})
    confirmed = {"etl_stop_all_confirm": True, "etl_stop_all_kill_after": 2, "etl_stop_all_schedules": False}
    schedules = {"etl_stop_all_confirm": True, "etl_stop_all_schedules": True}
    done = imports(
        ("etl_stop_all", confirmed),
        ("etl_stop_all", schedules),
        ("etl_stop_all", {**schedules, "etl_stop_all_then_fail": "The chain was canceled."}),
    )
    # The failure path of a workflow needs a last job that fails.
    assert (done.rc, done.task()["msg"]) == (2, "The chain was canceled.")
    states = {etl["id"]: etl["state"] for etl in control.etls()}
    assert states == {1: "ENDED", 2: "SERVICE_OFF", 3: "ENDED", 4: "ABORTED", 5: "ENDED"}
    writes = [(entry["exchange"], entry["etl_id"]) for entry in control.requests() if entry["write"]]
    assert sorted(writes[:3]) == [("stop", 1), ("stop", 2), ("stop", 4)]
    assert writes[3:] == [("kill", 4), ("kill", 3)], "nothing twice"
    ended, cancelled, nothing = told(done, "Show the result")
    assert "Nightly" not in str(ended), "a schedule is canceled only if requested"
    assert "Nightly" in str(cancelled)
    assert nothing == ["Nothing is running."]


def test_etl_stop_all_takes_brackets_literally_and_wants_to_be_confirmed(
    imports: Playbook, simulator: SimulatorProcess
) -> None:
    for number, name in enumerate(("[PROD] vCenter", "Oracle extractor", "Prometheus"), 1):
        simulator.control.put_etl(number, name=name, state="RUNNING", duration=None)
    pattern = {"etl_stop_all_name_pattern": "[PROD]*", "etl_stop_all_confirm": True}
    done = imports(("etl_stop_all", pattern), ("etl_stop_all", {"etl_stop_all_confirm": "no"}))
    assert done.rc == 2
    assert "etl_stop_all_confirm=true" in done.task()["msg"]
    assert [etl["state"] for etl in simulator.control.etls()] == ["ENDED", "RUNNING", "RUNNING"]


# ---- deploy


@pytest.fixture
def deploy(imports: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> Callable[..., Played]:
    """Deploy the given tasks while ETL 1 is a service that is on; ETL 2 refreshes."""
    simulator.control.put_etl(1, name="Service", kind="service", state="SERVICE_ON")
    simulator.control.put_etl(2, name="Refresh", duration=0.2)

    def run(tasks: str, *, before: Any = (), after: Any = (), **given: Any) -> Played:
        keywords = {name: given.pop(name) for name in ("arguments", "check", "inventory") if name in given}
        (tmp_path / "tasks.yml").write_text(tasks)
        (tmp_path / "verify.yml").write_text("- name: Verify\n  ansible.builtin.debug:\n    msg: verified\n")
        variables = {
            "deploy_tasks_file": str(tmp_path / "tasks.yml"),
            "deploy_verify_tasks_file": str(tmp_path / "verify.yml"),
            "etl_maintenance_etl_id": [1],
            "etl_maintenance_record_file": str(tmp_path / "record.json"),
            "etl_maintenance_poll_interval": 1,
            "etl_chain_steps": [{"etl_id": 2}],
            **given,
        }
        chosen = {name: value for name, value in variables.items() if value is not None}
        # Ansible itself warns of a pattern that matches nothing.
        return imports(*before, ("deploy", chosen), *after, allow_warnings="deploy_hosts" in given, **keywords)

    return run


PATCH = "- name: Patch\n  ansible.builtin.ping:\n"
# During the deployment the service is off; the task sees it through the simulator's control interface.
DURING = """
- name: Look at the ETL
  ansible.builtin.uri:
    url: "{{ lookup('ansible.builtin.env', 'HELIX_URL') }}/_simulator/etls/1"
    ca_path: "{{ lookup('ansible.builtin.env', 'HELIX_CA_PATH') }}"
  register: during
- name: Say its state
  ansible.builtin.debug:
    msg: "{{ during.json.state }}"
"""


def test_deploy_puts_back_only_what_it_stopped_itself(
    deploy: Callable[..., Played], simulator: SimulatorProcess, home: Path
) -> None:
    """A maintenance by hand around it has a record of its own."""
    simulator.control.put_etl(3, name="Engine", kind="service", state="SERVICE_ON")
    by_hand = {"etl_maintenance_etl_id": [3], "etl_maintenance_poll_interval": 1}
    entered, left = (("etl_maintenance", {"etl_maintenance_state": s, **by_hand}) for s in ("entered", "left"))
    try:
        done = deploy(DURING, etl_maintenance_record_file=None, before=[entered], after=[left])
    finally:
        for name in ("maintenance", "deploy"):
            (home / f".bmc_helix_{name}.json").unlink(missing_ok=True)
    assert done.rc == 0, done.output
    assert done.task("Say its state")["msg"] == "SERVICE_OFF"
    assert done.task("Verify")["msg"] == "verified"
    assert [simulator.control.status(etl_id)["state"] for etl_id in (1, 3)] == ["SERVICE_ON", "SERVICE_ON"]
    started = [entry["etl_id"] for entry in simulator.control.requests() if entry["exchange"] == "run"]
    assert started == [1, 2, 3]


@pytest.mark.smoke
def test_a_failing_deployment_leaves_maintenance_and_is_red(
    deploy: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    done = deploy("- name: Break\n  ansible.builtin.fail:\n    msg: no space left\n")
    assert done.rc == 2
    assert "Deployment on localhost failed: Task 'Break' failed: no space left" in done.task()["msg"]
    assert "Maintenance is left: 1 ETL is as it was." in done.task()["msg"]
    assert done.task()["msg"].endswith("Not done: the refresh chain, the verification.")
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    assert simulator.control.executions(2) == []


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """An inventory: engine1 and engine3 are this machine, engine2 cannot be reached."""
    inventory = tmp_path / "inventory.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    inventory.write_text(
        json.dumps({"all": {"hosts": {"localhost": local, "engine1": local, "engine2": gone, "engine3": local}}})
    )
    return inventory


ONCE = """
- name: Patch
  ansible.builtin.command: "false"
  run_once: true
- name: Go on
  ansible.builtin.ping:
"""


@pytest.mark.parametrize(
    ("tasks", "variables", "start", "end", "refreshed"),
    [
        # Then Ansible gives up localhost itself, on which maintenance is to be left.
        (f"{PATCH}  delegate_to: engine2\n", {}, "Deployment on localhost failed", "", 0),
        # Then it counts every host of the play as failed, localhost too; with any_errors_fatal the same.
        (ONCE, {"deploy_hosts": "engine1,engine3"}, "Deployment on engine1 failed", "", 0),
        (PATCH, {}, "After the deployment", "Not done: the verification.", 1),
        (
            "- name: Never\n  ansible.builtin.ping:\n",
            {"etl_maintenance_etl_id": [1, 3], "etl_maintenance_wait_timeout": 4, "etl_maintenance_kill_after": 1},
            "Entering maintenance failed",
            "",
            0,
        ),
    ],
    ids=["delegate", "once", "refresh", "not_entered"],
)
def test_whatever_fails_maintenance_is_left_and_the_failure_told(
    deploy: Callable[..., Played],
    simulator: SimulatorProcess,
    engines: Path,
    tasks: str,
    variables: dict[str, Any],
    start: str,
    end: str,
    refreshed: int,
) -> None:
    control = simulator.control
    control.put_etl(3, state="RUNNING", duration=None, stop_effect="ignored", kill_effect="ignored")
    control.patch_etl(2, exit="ERROR")
    done = deploy(tasks, inventory=engines, **variables)
    assert done.rc in (2, 4), done.output
    assert done.task()["msg"].startswith(start)
    assert done.task()["msg"].endswith(end)
    assert "Never" not in {task.task for task in done.tasks if task.status == "ok"}
    assert control.status(1)["state"] == "SERVICE_ON"
    assert len(control.executions(2)) == refreshed


def test_an_unreachable_target_leaves_maintenance_and_is_red(
    deploy: Callable[..., Played], simulator: SimulatorProcess, engines: Path
) -> None:
    done = deploy(PATCH, inventory=engines, deploy_hosts="engine*", deploy_gather_facts=False)
    assert done.rc in (2, 4), done.output
    message = done.task()["msg"]
    assert "Deployment on engine2 failed" in message
    assert "engine1" not in message
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    patched = {task.host for task in done.tasks if task.task == "Patch" and task.status == "ok"}
    assert patched == {"engine1", "engine3"}


def test_deploy_in_check_mode_sends_nothing(deploy: Callable[..., Played], simulator: SimulatorProcess) -> None:
    done = deploy(PATCH, check=True)
    assert done.rc == 0, done.output
    assert simulator.control.counters()["writes"] == 0


@pytest.mark.parametrize(
    ("variables", "arguments", "messages"),
    [
        (
            {"deploy_role": "other", "deploy_verify_tasks_file": "/nowhere/verify.yml", "deploy_hosts": "nobody"},
            ("--tags", "patch"),
            [
                "Set exactly one of deploy_tasks_file and deploy_role",
                "no file /nowhere/verify.yml",
                "No host of the inventory matches deploy_hosts (nobody)",
                "With --tags, neither the maintenance nor the deployment would run.",
            ],
        ),
        (
            {"deploy_hosts": "engine1"},
            ("--limit", "engine1"),
            ["The play on localhost did not run (--limit excludes it)"],
        ),
    ],
)
def test_deploy_checks_first_what_it_was_given(
    deploy: Callable[..., Played],
    simulator: SimulatorProcess,
    engines: Path,
    variables: dict[str, str],
    arguments: tuple[str, str],
    messages: list[str],
) -> None:
    done = deploy(PATCH, arguments=arguments, inventory=engines, **variables)
    assert done.rc == 2
    for message in messages:
        assert message in done.task()["msg"]
    assert simulator.control.requests() == []
