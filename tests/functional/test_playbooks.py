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

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Playbook = Callable[..., Played]


# ---- etl_action


@pytest.mark.smoke
def test_etl_action_takes_what_a_survey_sends(playbook: Playbook, simulator: SimulatorProcess) -> None:
    """A survey sends texts, and an empty text for every question that was left open."""
    for etl_id in (1, 2):
        simulator.control.put_etl(etl_id, name=f"Import, {etl_id}", duration=0.2)
    empty = dict.fromkeys(("etl_action_wait", "etl_action_max_age", "etl_action_kill_after", "etl_action_etl_name"), "")
    done = playbook(
        "etl_action",
        {**empty, "etl_action_action": "run", "etl_action_etl_id": "1, 2", "etl_action_set_stats": "true"},
    )
    assert done.rc == 0, done.output
    assert simulator.control.counters()["launches_by_etl"] == {1: 1, 2: 1}
    stats = done.task("Publish the outcomes for a workflow")["ansible_stats"]["data"]
    assert stats == {"etl_action_summary": {"1": "succeeded", "2": "succeeded"}}
    done = playbook(
        "etl_action",
        {"etl_action_action": "run", "etl_action_etl_name": "Import, 1\nImport, 2\n", "etl_action_set_stats": True},
        check=True,
    )
    assert done.rc == 0, done.output
    assert [etl["outcome"] for etl in done.task("Act on the ETLs: run")["etls"]] == ["would_run", "would_run"]
    assert done.task("Publish the outcomes for a workflow").status == "skipped"


def test_etl_action_hands_options_on_and_fails_with_the_module(playbook: Playbook, simulator: SimulatorProcess) -> None:
    simulator.control.put_etl(7, duration=None)
    done = playbook("etl_action", {"etl_action_action": "run", "etl_action_etl_id": 7, "etl_action_wait": False})
    assert done.rc == 0, done.output
    assert done.task("Act on the ETLs: run")["etl"]["outcome"] == "accepted"
    done = playbook(
        "etl_action", {"etl_action_action": "run", "etl_action_etl_id": [7], "etl_action_if_running": "fail"}
    )
    assert done.rc == 2
    assert done.task()["etl"]["error"]["kind"] == "already_running"


# ---- etl_stop_all


@pytest.mark.smoke
def test_etl_stop_all_ends_all_that_executes(playbook: Playbook, simulator: SimulatorProcess) -> None:
    control = simulator.control
    control.put_etl(1, state="RUNNING", duration=None)
    control.put_etl(2, kind="service", state="SERVICE_ON")
    control.put_etl(3, kind="periodic", state="WAITING")
    control.put_etl(4, state="RUNNING", duration=None, stop_effect="ignored")
    control.put_etl(5, state="ENDED")

    done = playbook("etl_stop_all")
    assert done.rc == 2
    assert "etl_stop_all_confirm=true" in done.task()["msg"]
    done = playbook("etl_stop_all", check=True)
    assert done.rc == 0, done.output
    assert control.counters()["writes"] == 0

    # A state that cannot be read keeps nobody from being stopped.
    control.fault({"exchange": "status", "etl_id": 1}, {"kind": "status", "code": 500})
    done = playbook("etl_stop_all", {"etl_stop_all_confirm": True, "etl_stop_all_kill_after": 2})
    assert done.rc == 0, done.output
    states = {etl["id"]: etl["state"] for etl in control.etls()}
    assert states == {1: "ENDED", 2: "SERVICE_OFF", 3: "WAITING", 4: "ABORTED", 5: "ENDED"}

    done = playbook("etl_stop_all", {"etl_stop_all_confirm": True, "etl_stop_all_schedules": True})
    assert done.rc == 0, done.output
    assert control.status(3)["state"] == "ENDED"
    done = playbook("etl_stop_all", {"etl_stop_all_confirm": True, "etl_stop_all_schedules": True})
    assert "changed=0 " in done.stdout
    assert done.task("Show the result")["msg"] == ["Nothing is running."]


def test_brackets_in_a_pattern_are_literal(playbook: Playbook, simulator: SimulatorProcess) -> None:
    for number, name in enumerate(("[PROD] vCenter", "Oracle extractor", "Prometheus"), 1):
        simulator.control.put_etl(number, name=name, state="RUNNING", duration=None)
    done = playbook("etl_stop_all", {"etl_stop_all_confirm": True, "etl_stop_all_name_pattern": "[PROD]*"})
    assert done.rc == 0, done.output
    assert [etl["state"] for etl in simulator.control.etls()] == ["ENDED", "RUNNING", "RUNNING"]


# ---- deploy


@pytest.fixture
def deploy(playbook: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> Callable[..., Played]:
    """Deploy the given tasks while ETL 1 is a service that is on; ETL 2 refreshes."""
    simulator.control.put_etl(1, name="Service", kind="service", state="SERVICE_ON")
    simulator.control.put_etl(2, name="Refresh", duration=0.2)

    def run(tasks: str, *, inventory: Any = None, check: bool = False, **variables: Any) -> Played:
        (tmp_path / "tasks.yml").write_text(tasks)
        (tmp_path / "verify.yml").write_text("- name: Verify\n  ansible.builtin.debug:\n    msg: verified\n")
        # Ansible itself warns of a pattern that fits nobody.
        keywords: dict[str, Any] = {"allow_warnings": variables.get("deploy_hosts") == "nobody"}
        if inventory:
            keywords["inventory"] = inventory
        given = {
            "deploy_tasks_file": str(tmp_path / "tasks.yml"),
            "deploy_verify_tasks_file": str(tmp_path / "verify.yml"),
            "etl_maintenance_etl_id": [1],
            "etl_maintenance_record_file": str(tmp_path / "record.json"),
            "etl_maintenance_poll_interval": 1,
            "etl_chain_steps": [{"etl_id": 2}],
            **variables,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        return playbook("deploy", chosen, check=check, **keywords)

    return run


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


def test_deploy_is_green(deploy: Callable[..., Played], simulator: SimulatorProcess) -> None:
    done = deploy(DURING)
    assert done.rc == 0, done.output
    assert done.task("Say its state")["msg"] == "SERVICE_OFF"
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    assert len(simulator.control.executions(2)) == 1
    assert done.task("Verify")["msg"] == "verified"


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


def test_a_deployment_does_not_put_back_what_a_maintenance_by_hand_recorded(
    deploy: Callable[..., Played], playbook: Playbook, simulator: SimulatorProcess, home: Path
) -> None:
    simulator.control.put_etl(3, name="Engine", kind="service", state="SERVICE_ON")
    by_hand = {"etl_maintenance_etl_id": [3], "etl_maintenance_poll_interval": 1}
    try:
        playbook("etl_maintenance", {"etl_maintenance_state": "entered", **by_hand})
        done = deploy(DURING, etl_maintenance_record_file=None)
        assert done.rc == 0, done.output
        assert simulator.control.status(1)["state"] == "SERVICE_ON"
        assert simulator.control.status(3)["state"] == "SERVICE_OFF"
        left = playbook("etl_maintenance", {"etl_maintenance_state": "left", **by_hand})
        assert left.rc == 0, left.output
        assert simulator.control.status(3)["state"] == "SERVICE_ON"
    finally:
        for name in ("maintenance", "deploy"):
            (home / f".bmc_helix_{name}.json").unlink(missing_ok=True)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """An inventory: engine1 is this machine, engine2 cannot be reached."""
    inventory = tmp_path / "inventory.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    inventory.write_text(json.dumps({"all": {"hosts": {"localhost": local, "engine1": local, "engine2": gone}}}))
    return inventory


def test_an_unreachable_target_leaves_maintenance_and_is_red(
    deploy: Callable[..., Played], simulator: SimulatorProcess, engines: Path
) -> None:
    done = deploy(
        "- name: Patch\n  ansible.builtin.ping:\n",
        inventory=engines,
        deploy_hosts="engine*",
        deploy_gather_facts=False,
    )
    assert done.rc in (2, 4), done.output
    message = done.task()["msg"]
    assert "Deployment on engine2 failed" in message
    assert "engine1" not in message
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    assert [task.host for task in done.tasks if task.task == "Patch" and task.status == "ok"] == ["engine1"]


def test_an_unreachable_delegate_of_localhost_leaves_maintenance_and_is_red(
    deploy: Callable[..., Played], simulator: SimulatorProcess, engines: Path
) -> None:
    """Then Ansible gives up localhost itself, on which maintenance is to be left."""
    done = deploy("- name: Patch\n  ansible.builtin.ping:\n  delegate_to: engine2\n", inventory=engines)
    assert done.rc in (2, 4), done.output
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    assert "Deployment on localhost failed" in done.task()["msg"]
    assert simulator.control.executions(2) == []


def test_a_failing_task_that_runs_once_leaves_maintenance_and_is_red(
    deploy: Callable[..., Played], simulator: SimulatorProcess, engines: Path
) -> None:
    """Then Ansible counts every host of the play as failed, localhost too; with any_errors_fatal the same."""
    tasks = """
- name: Patch
  ansible.builtin.command: "false"
  run_once: true
- name: Go on
  ansible.builtin.ping:
"""
    inventory = json.loads(engines.read_text())
    inventory["all"]["hosts"]["engine2"] = inventory["all"]["hosts"]["engine1"]
    engines.write_text(json.dumps(inventory))
    done = deploy(tasks, inventory=engines, deploy_hosts="engine*")
    assert done.rc == 2, done.output
    assert simulator.control.status(1)["state"] == "SERVICE_ON"
    assert "Deployment on engine1 failed" in done.task()["msg"]


def test_a_maintenance_that_cannot_be_entered_deploys_nothing(
    deploy: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    simulator.control.put_etl(3, state="RUNNING", duration=None, stop_effect="ignored", kill_effect="ignored")
    done = deploy(
        "- name: Patch\n  ansible.builtin.ping:\n",
        etl_maintenance_etl_id=[1, 3],
        etl_maintenance_wait_timeout=4,
        etl_maintenance_kill_after=1,
    )
    assert done.rc == 2
    assert "Entering maintenance failed" in done.task()["msg"]
    assert "Patch" not in {task.task for task in done.tasks if task.status == "ok"}
    assert simulator.control.status(1)["state"] == "SERVICE_ON"


def test_a_failing_refresh_is_red_after_maintenance_was_left(
    deploy: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    simulator.control.patch_etl(2, exit="ERROR")
    done = deploy("- name: Patch\n  ansible.builtin.ping:\n")
    assert done.rc == 2
    assert "After the deployment" in done.task()["msg"]
    assert done.task()["msg"].endswith("Not done: the verification.")
    assert simulator.control.status(1)["state"] == "SERVICE_ON"


def test_deploy_in_check_mode_sends_nothing(deploy: Callable[..., Played], simulator: SimulatorProcess) -> None:
    done = deploy("- name: Patch\n  ansible.builtin.ping:\n", check=True)
    assert done.rc == 0, done.output
    assert simulator.control.counters()["writes"] == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"deploy_role": "other"}, "Set exactly one of deploy_tasks_file and deploy_role"),
        ({"deploy_verify_tasks_file": "/nowhere/verify.yml"}, "no file /nowhere/verify.yml"),
        ({"deploy_hosts": "nobody"}, "No host of the inventory matches deploy_hosts (nobody)"),
    ],
)
def test_deploy_checks_first_what_it_was_given(
    deploy: Callable[..., Played], simulator: SimulatorProcess, variables: dict[str, str], message: str
) -> None:
    done = deploy("[]", **variables)
    assert done.rc == 2
    assert message in json.dumps(done.task().result)
    assert simulator.control.requests() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tags", "patch"), "With --tags, neither the maintenance nor the deployment would run."),
        (("--limit", "engine1"), "The play on localhost did not run (--limit excludes it)"),
    ],
)
def test_a_deployment_without_its_maintenance_is_refused(
    playbook: Playbook, simulator: SimulatorProcess, engines: Path, arguments: tuple[str, str], message: str
) -> None:
    variables = {"deploy_role": "mine", "deploy_hosts": "engine1", "etl_maintenance_etl_id": [1]}
    done = playbook("deploy", variables, arguments=arguments, inventory=engines, allow_warnings=True)
    assert done.rc == 2, done.output
    assert message in done.task()["msg"]
    assert simulator.control.requests() == []
