# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job as AWX would run it: ansible-runner with a private data directory, the credential in the environment, answers
of
the survey in a file, an inventory that is a program. Then its events and artifacts are read, and secrets searched for.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import ROOT, assert_no_secret
from tests.simulator.client import SimulatorProcess

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("ansible_runner") is None, reason="ansible-runner is not installed"),
]
# What the role awx_resources writes into the controller for localhost; AWX gives it as the answer of a program.
INVENTORY = """#!/bin/sh
cat <<'END'
{"all": {"hosts": ["localhost"]}, "_meta": {"hostvars": {"localhost": {
  "ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}}}}
END
"""
SECRET_PROPERTY = "runner-property-9Vb3Xc7"


@dataclass
class Job:
    """What AWX would keep of a job."""

    status: str
    events: list[dict[str, Any]]
    stdout: str
    kept: str

    def results(self, event: str) -> list[dict[str, Any]]:
        return [entry["event_data"]["res"] for entry in self.events if entry["event"] == event]

    @property
    def artifacts(self) -> dict[str, Any]:
        """What `set_stats` hands on to later nodes of a workflow."""
        return dict(self.events[-1]["event_data"].get("artifact_data") or {})


@pytest.fixture
def job(environment: dict[str, str], simulator: SimulatorProcess, tmp_path: Path) -> Callable[..., Job]:
    """Run a playbook of the collection: `job("etl_action", {"etl_action_action": "run"}, check=True)`."""

    def run(playbook: str, answers: dict[str, Any], check: bool = False) -> Job:
        folder = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        for part in ("env", "inventory", "project"):
            (folder / part).mkdir(parents=True)
        (folder / "inventory" / "hosts").write_text(INVENTORY)
        (folder / "inventory" / "hosts").chmod(0o755)
        (folder / "project" / "job.yml").write_text(
            f"---\n- name: Job\n  ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n"
        )
        # AWX marks answers as unsafe: they are never templates.
        mark = {name: "!unsafe " if isinstance(value, str) else "" for name, value in answers.items()}
        lines = [f"{name}: {mark[name]}{json.dumps(value)}" for name, value in answers.items()]
        (folder / "env" / "extravars").write_text("\n".join(["---", *lines, "awx_job_id: 7", ""]))
        (folder / "env" / "cmdline").write_text(("--check " if check else "") + "-u root -vvv")
        # The credential: set ones, and empty ones for the fields that were left out.
        credential = {"HELIX_TENANT_ID": "", "HELIX_PROXY": "", "HELIX_VALIDATE_CERTS": "", "HELIX_CLIENT_CERT": ""}
        quiet = {name: value for name, value in environment.items() if "CALLBACK" not in name}
        done = subprocess.run(
            [sys.executable, "-m", "ansible_runner", "run", str(folder), "-p", "job.yml", "-i", "1"],
            env={**quiet, **credential, "PROJECT_REVISION": "0" * 40, "JOB_ID": "7"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        artifacts = folder / "artifacts" / "1"
        assert (artifacts / "status").exists(), done.stdout + done.stderr
        files = sorted((artifacts / "job_events").glob("*-*.json"), key=lambda path: int(path.name.partition("-")[0]))
        texts = [path.read_text(encoding="utf-8") for path in files]
        stdout = (artifacts / "stdout").read_text(encoding="utf-8")
        kept = "\n".join([done.stdout, done.stderr, stdout, *texts])
        return Job((artifacts / "status").read_text(), [json.loads(text) for text in texts], stdout, kept)

    return run


def test_a_chain_as_a_job(job: Callable[..., Job], simulator: SimulatorProcess) -> None:
    simulator.control.put_etl(1, name="Import", duration=0.2)
    simulator.control.put_etl(2, name="Broken", duration=0.2, exit="ERROR")
    secret = {"secret_run_execution_properties": {"password": SECRET_PROPERTY}}
    steps = [{"etl_id": 1, "poll_interval": 1, **secret}, {"name": "bad", "etl_name": "Broken", "poll_interval": 1}]
    done = job("etl_chain", {"etl_chain_steps": steps, "etl_chain_set_stats": True})
    assert done.status == "failed"
    assert [execution["properties"] for execution in simulator.control.executions(1)] == [{"password": SECRET_PROPERTY}]
    assert done.artifacts["etl_chain_summary"]["outcome"] == "failed"
    assert done.artifacts["etl_chain_summary"]["failed_steps"] == ["bad"]
    failed = done.results("runner_on_failed")
    assert failed[0]["error"]["kind"] == "exit_error"
    assert failed[-1]["msg"].startswith("The chain failed")
    assert "The chain failed" in done.stdout
    assert SECRET_PROPERTY not in done.kept
    assert simulator.access_key not in done.kept
    assert_no_secret(done.kept, [simulator.access_secret_key])


def test_the_answers_of_the_chain_template_reach_the_steps(
    job: Callable[..., Job], simulator: SimulatorProcess
) -> None:
    """The template holds templates that take them from the survey, as roles/awx_resources writes them."""
    simulator.control.put_etl(1, name="Import", duration=0.2)
    text = (ROOT / "roles" / "awx_resources" / "vars" / "main" / "job_templates.yml").read_text(encoding="utf-8")
    stored = dict(re.findall(r"(max_age|wait_timeout): !unsafe \"(.+)\"", text))
    assert set(stored) == {"max_age", "wait_timeout"}
    answers: dict[str, Any] = {
        "etl_chain_steps": [{"etl_id": 1, "poll_interval": 1}],
        "etl_chain_defaults": stored,
        "etl_chain_answer_wait_timeout": 60,
        "etl_chain_on_failure": "abort",
        "etl_chain_cleanup": "leave",
    }
    for max_age, outcome in ((3600, "succeeded"), (3600, "fresh"), (1, "succeeded")):
        done = job("etl_chain", {**answers, "etl_chain_answer_max_age": max_age})
        assert done.status == "successful", done.stdout
        etls = [etl for result in done.results("runner_on_ok") for etl in result.get("etls", [])]
        assert [etl["outcome"] for etl in etls if "outcome" in etl] == [outcome]
        simulator.control.patch_etl(1, last_exec_age=60)
