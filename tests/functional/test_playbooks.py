# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks of the collection, called by their full names. See also test_awx.py, and `make demo ARGS=list`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.support import Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
Playbook = Callable[..., Played]
PATCH = "- name: Patch\n  ansible.builtin.ping:\n"


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


@pytest.mark.smoke
def test_etl_action_takes_what_a_survey_sends_and_fails_with_the_module(
    imports: Playbook, simulator: SimulatorProcess
) -> None:
    """A survey sends texts, and an empty text for every question that was left open."""
    for etl_id, duration in ((1, 0.2), (2, 0.2), (7, None)):
        simulator.control.put_etl(etl_id, name=f"Import, {etl_id}", duration=duration)
    survey = {"action": "run", "etl_id": "1, 2", "set_stats": "true"}
    survey |= dict.fromkeys(("wait", "max_age", "kill_after", "etl_name"), "")
    started = {"action": "run", "etl_name": "Import, 7\n", "wait": False}
    again = {"action": "run", "etl_id": [7], "if_running": "fail"}
    actions = [{f"etl_action_{key}": value for key, value in given.items()} for given in (survey, started, again)]
    done = imports(*(("etl_action", variables) for variables in actions))
    assert done.rc == 2
    runs = [task for task in done.tasks if task.task == "Act on the ETLs: run"]
    outcomes = [[etl["outcome"] for etl in run["etls"]] for run in runs]
    assert outcomes[:2] == [["succeeded", "succeeded"], ["accepted"]]
    assert runs[2]["etl"]["error"]["kind"] == "already_running"
    assert simulator.control.counters()["launches_by_etl"] == {1: 1, 2: 1, 7: 1}
    [stats] = [task["ansible_stats"]["data"] for task in done.tasks if "ansible_stats" in task]
    assert stats == {"etl_action_summary": {"1": "succeeded", "2": "succeeded"}}


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
    running = {"etl_stop_all_confirm": True, "etl_stop_all_kill_after": 1, "etl_stop_all_schedules": False}
    # The failure path of a workflow needs a last job that fails.
    schedules = {"etl_stop_all_confirm": True, "etl_stop_all_schedules": True, "etl_stop_all_then_fail": "Canceled."}
    done = imports(("etl_stop_all", running), ("etl_stop_all", schedules))
    assert (done.rc, done.task()["msg"]) == (2, "Canceled.")
    states = {etl["id"]: etl["state"] for etl in control.etls()}
    assert states == {1: "ENDED", 2: "SERVICE_OFF", 3: "ENDED", 4: "ABORTED", 5: "ENDED"}
    writes = [(entry["exchange"], entry["etl_id"]) for entry in control.requests() if entry["write"]]
    assert sorted(writes[:3]) == [("stop", 1), ("stop", 2), ("stop", 4)]
    assert writes[3:] == [("kill", 4), ("kill", 3)], "nothing twice"
    ended, canceled = (task["msg"] for task in done.tasks if task.task == "Show the result")
    assert "Nightly" not in str(ended), "a schedule is canceled only if requested"
    assert "Nightly" in str(canceled)


def test_check_mode_sends_writes_and_publishes_nothing(
    imports: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    control, target = simulator.control, tmp_path / "target"
    target.mkdir()
    (tmp_path / "tasks.yml").write_text(PATCH)
    control.put_etl(1, name="Service", kind="service", state="SERVICE_ON")
    control.put_etl(2, name="Scheduled", kind="periodic", state="ENDED")
    control.put_etl(3, name="Failed", state="ENDED", exit_code="ERROR")
    stopped = {"etl_id": 2, "etl_name": "Scheduled", "was": "WAITING", "scheduled": True}
    deployment = {
        "deploy_tasks_file": str(tmp_path / "tasks.yml"),
        "etl_maintenance_etl_id": [1, 2],
        "etl_maintenance_record": {"format": 1, "state": "entered", "etls": [stopped]},
        "etl_maintenance_record_file": str(target / "record.json"),
        "etl_maintenance_set_stats": True,
        "etl_maintenance_secure_logging": False,
        "etl_chain_steps": [{"etl_name": ["Failed"]}, {"etl_id": 1, "action": "stop"}, {"etl_id": 2}],
        "etl_chain_cleanup": "kill",
        "etl_chain_result_file": str(target / "result.json"),
        "etl_chain_set_stats": True,
        "etl_chain_secure_logging": False,
    }
    action = {"etl_action_action": "run", "etl_action_etl_name": "Failed\nScheduled", "etl_action_set_stats": True}
    names = {"html": "page.html", "text": "table.txt", "csv": "t.csv", "junit": "j.xml", "prometheus": "helix.prom"}
    health = {f"etl_health_{form}": str(target / name) for form, name in names.items()}
    gate = {**health, "etl_health_fail_on": ["failed"]}
    done = imports(("deploy", deployment), ("etl_action", action), ("etl_health", gate), check=True)
    assert (done.rc, done.task()["msg"].splitlines()[0][:23]) == (2, "ETL 3 'Failed': failed ")
    facts = [task.result.get("ansible_facts", {}) for task in done.tasks]
    entered, left = filter(None, (fact.get("etl_maintenance_result") for fact in facts))
    assert entered["msg"].startswith("Maintenance would be entered")
    assert [etl["outcome"] for etl in entered["etls"]] == ["would_stop"]
    assert [etl["outcome"] for etl in left["etls"]] == ["nothing_to_do", "would_schedule"]
    [chain] = filter(None, (fact.get("etl_chain_result") for fact in facts))
    assert (chain["outcome"], chain["check_mode"]) == ("planned", True)
    etls = [etl for step in chain["steps"] for etl in step["etls"]]
    assert [etl["outcome"] for etl in etls] == ["would_run", "would_stop", "would_run"]
    assert {etl["task_execution_request_id"] for etl in etls} == {None}
    assert [etl["outcome"] for etl in done.task("Act on the ETLs: run")["etls"]] == ["would_run", "would_run"]
    published = {task.status for task in done.tasks if "Publish the" in task.task and "workflow" in task.task}
    assert published == {"skipped"}
    assert list(target.iterdir()) == []
    assert control.counters()["writes"] == 0


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """An inventory: engine1 and engine3 are this machine, engine2 cannot be reached."""
    inventory = tmp_path / "inventory.yml"
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    hosts = {"localhost": local, "engine1": local, "engine2": gone, "engine3": local}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    return inventory


ONCE = """
- name: Patch
  ansible.builtin.command: "false"
  run_once: true
- name: Go on
  ansible.builtin.ping:
"""
BOTH = "Not done: the refresh chain, the verification."
#: Tasks, variables, how the message starts, the hosts that it names, the hosts that were patched, and how it ends.
FAILING: dict[str, tuple[str, dict[str, Any], str, list[str], list[str], str]] = {
    # Then Ansible gives up localhost itself, on which maintenance is to be left.
    "delegate": (f"{PATCH}  delegate_to: engine2\n", {}, "Deployment", ["localhost"], [], BOTH),
    # Then it counts every host of the play as failed, localhost too; with any_errors_fatal the same.
    "once": (ONCE, {"deploy_hosts": "engine1,engine3"}, "Deployment", ["engine1", "engine3"], [], BOTH),
    "unreachable": (PATCH, {"deploy_hosts": "engine*"}, "Deployment", ["engine2"], ["engine1", "engine3"], BOTH),
    "refresh": (PATCH, {}, "After the deployment", [], ["localhost"], "Not done: the verification."),
    # An ETL that does not stop.
    "not_entered": (PATCH, {"etl_maintenance_etl_id": [1, 3]}, "Entering maintenance failed", [], [], BOTH),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.smoke] if name == "once" else []) for name in FAILING]
)
def test_whatever_fails_maintenance_is_left_and_the_failure_told(
    imports: Playbook, simulator: SimulatorProcess, engines: Path, tmp_path: Path, name: str
) -> None:
    tasks, variables, start, failed, patched, end = FAILING[name]
    control = simulator.control
    control.put_etl(1, name="Service", kind="service", state="SERVICE_ON")
    control.put_etl(2, name="Refresh", duration=0.2, exit="ERROR")
    control.put_etl(3, state="RUNNING", duration=None, stop_effect="ignored", kill_effect="ignored")
    (tmp_path / "tasks.yml").write_text(tasks)
    deployment = {
        "deploy_tasks_file": str(tmp_path / "tasks.yml"),
        "deploy_verify_tasks_file": str(tmp_path / "tasks.yml"),
        "etl_chain_steps": [{"etl_id": 2}],
        "etl_maintenance_etl_id": [1],
        "etl_maintenance_poll_interval": 1,
        "etl_maintenance_kill_after": 1,
        "etl_maintenance_wait_timeout": 4,
        **variables,
    }
    done = imports(("deploy", deployment), inventory=engines, env={"HOME": str(tmp_path)})
    assert done.rc in (2, 4), done.output
    message = done.task()["msg"]
    assert message.startswith(start)
    assert re.findall(r"Deployment on (\w+) failed", message) == failed
    assert "Maintenance is left" in message
    assert message.endswith(end)
    assert sorted(task.host for task in done.tasks if task.task == "Patch" and task.status == "ok") == patched
    assert control.status(1)["state"] == "SERVICE_ON"
    assert len(control.executions(2)) == (name == "refresh")
    # A maintenance by hand has another record, so it is not left.
    assert json.loads((tmp_path / ".bmc_helix_deploy.json").read_text())["state"] == "left"


IMPOSSIBLE: list[tuple[str, dict[str, str], tuple[str, ...], list[str]]] = [
    (
        "deploy",
        {"deploy_role": "other", "deploy_verify_tasks_file": "/nowhere/verify.yml", "deploy_hosts": "nobody"},
        ("--tags", "patch"),
        [
            "exactly one of deploy_tasks_file and deploy_role",
            "no file /nowhere/verify",
            "deploy_hosts (nobody)",
            "--tags",
        ],
    ),
    ("deploy", {"deploy_hosts": "engine1"}, ("--limit", "engine1"), ["did not run (--limit excludes it)"]),
    ("etl_stop_all", {"etl_stop_all_confirm": "no"}, (), ["etl_stop_all_confirm=true"]),
]


@pytest.mark.parametrize(("playbook", "variables", "arguments", "messages"), IMPOSSIBLE)
def test_what_cannot_be_run_as_requested_sends_nothing(
    imports: Playbook,
    simulator: SimulatorProcess,
    engines: Path,
    playbook: str,
    variables: Any,
    arguments: Any,
    messages: list[str],
) -> None:
    given = {"deploy_tasks_file": str(engines), "etl_maintenance_etl_id": [1], **variables}
    # Ansible itself warns of a pattern that matches nothing.
    done = imports((playbook, given), inventory=engines, arguments=arguments, allow_warnings=True)
    assert done.rc == 2
    assert [message for message in messages if message not in done.task()["msg"]] == []
    assert simulator.control.requests() == []
