# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A failing chain by ansible-runner, as AWX would run it, and by ansible-navigator, without a container: what a person
sees, what is kept, and that no secret is in it.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.awx.rules import extra_vars
from tests.functional.support import INVENTORY, assert_no_secret, run_process, without_callbacks
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
# What the role awx_resources writes into the controller for localhost; AWX gives it as the answer of a program.
PROGRAM = """#!/bin/sh
cat <<'END'
{"all": {"hosts": ["localhost"]}, "_meta": {"hostvars": {"localhost": {
  "ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}}}}
END
"""
PLAYBOOK = "- name: Job\n  ansible.builtin.import_playbook: capacityops.bmc_helix.etl_chain\n"
SECRET_PROPERTY = "runner-property-9Vb3Xc7"
SECRET = {"secret_run_execution_properties": {"password": SECRET_PROPERTY}}
STEPS = [{"etl_id": 1, "poll_interval": 1, **SECRET}, {"name": "bad", "etl_name": "Broken", "poll_interval": 1}]


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@pytest.fixture
def chain(simulator: SimulatorProcess) -> SimulatorProcess:
    simulator.control.put_etl(1, name="Import", duration=0.2)
    simulator.control.put_etl(2, name="Broken", duration=0.2, exit="ERROR")
    return simulator


def check(chain: SimulatorProcess, shown: str, files: Iterable[Path]) -> None:
    """The chain failed, and nothing that was shown or kept contains a secret."""
    assert "ETL 2 (Broken) ended with exit ERROR" in shown, shown
    assert "The chain failed" in shown
    assert [run["properties"] for run in chain.control.executions(1)] == [SECRET["secret_run_execution_properties"]]
    kept = [path.read_text(encoding="utf-8", errors="replace") for path in files if path.is_file()]
    assert_no_secret("\n".join([shown, *kept]), [SECRET_PROPERTY, chain.access_secret_key, chain.access_key])


@needs("ansible_runner")
def test_a_job_of_ansible_runner(chain: SimulatorProcess, environment: dict[str, str], tmp_path: Path) -> None:
    for part in ("env", "inventory", "project"):
        (tmp_path / part).mkdir()
    (tmp_path / "inventory" / "hosts").write_text(PROGRAM)
    (tmp_path / "inventory" / "hosts").chmod(0o755)
    (tmp_path / "project" / "job.yml").write_text(PLAYBOOK)
    answers = extra_vars({"etl_chain_steps": STEPS}, {"etl_chain_set_stats": True, "awx_job_id": 7})
    (tmp_path / "env" / "extravars").write_text(answers)
    (tmp_path / "env" / "cmdline").write_text("-u root -vvv")
    # The credential: set ones, and empty ones for the fields that were left out.
    left_out = dict.fromkeys(("HELIX_TENANT_ID", "HELIX_PROXY", "HELIX_VALIDATE_CERTS", "HELIX_CLIENT_CERT"), "")
    env = {**without_callbacks(environment), **left_out, "PROJECT_REVISION": "0" * 40, "JOB_ID": "7"}
    command = ["ansible-runner", "run", tmp_path, "-p", "job.yml", "-i", "1"]
    done = run_process(command, env, tmp_path, 250)
    artifacts = tmp_path / "artifacts" / "1"
    check(chain, done.stdout + done.stderr, [artifacts / "stdout", *artifacts.glob("job_events/*.json")])
    assert (artifacts / "status").read_text() == "failed"
    files = sorted(artifacts.glob("job_events/*-*.json"), key=lambda path: int(path.name.partition("-")[0]))
    events: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    failed = [event["event_data"]["res"] for event in events if event["event"] == "runner_on_failed"]
    assert failed[0]["error"]["kind"] == "exit_error"
    assert failed[-1]["msg"].startswith("The chain failed")
    # What `set_stats` passes to later nodes of a workflow.
    summary = events[-1]["event_data"]["artifact_data"]["etl_chain_summary"]
    assert (summary["outcome"], summary["failed_steps"]) == ("failed", ["bad"])


@needs("ansible_navigator")
def test_ansible_navigator(chain: SimulatorProcess, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "variables.json").write_text(json.dumps({"etl_chain_steps": STEPS}))
    command = ["ansible-navigator", "run", "play.yml", "-i", INVENTORY, "-vvv"]
    command += ["--extra-vars", "@variables.json", "--ee", "false", "--mode", "stdout", "--pas", "artifact.json"]
    command += ["--log-file", tmp_path / "navigator.log", "--log-level", "debug"]
    # A short name: sockets lie in it, and theirs must not be longer than about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="nav-") as temporary:
        # Everything that it leaves behind is in these two.
        env = {**without_callbacks(environment), "HOME": str(tmp_path), "TMPDIR": temporary, "TERM": "dumb"}
        done = run_process(command, env, tmp_path, 250)
        kept = {*tmp_path.rglob("*"), *Path(temporary).rglob("*")} - {tmp_path / "variables.json"}
        check(chain, done.stdout + done.stderr, kept)
    assert done.returncode != 0
    artifact = json.loads((tmp_path / "artifact.json").read_text(encoding="utf-8"))
    assert artifact["status"] == "failed"
    assert "The chain failed" in "\n".join(artifact["stdout"])
    assert (tmp_path / "navigator.log").stat().st_size > 0
