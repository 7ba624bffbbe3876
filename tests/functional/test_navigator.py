# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Playbooks of the collection by ansible-navigator, without a container."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import INVENTORY, assert_no_secret
from tests.simulator.client import SimulatorProcess

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        importlib.util.find_spec("ansible_navigator") is None, reason="ansible-navigator is not installed"
    ),
]
SECRET_PROPERTY = "navigator-property-4Kd8Ws2"


@dataclass
class Navigated:
    """What a person sees, and what is left on the disk."""

    rc: int
    stdout: str
    stderr: str
    folder: Path
    temporary: Path
    given: Path

    @property
    def kept(self) -> str:
        """All that was shown or written, but for the file that was handed in."""
        files = (
            path
            for folder in (self.folder, self.temporary)
            for path in folder.rglob("*")
            if path.is_file() and path != self.given
        )
        return "\n".join(
            [self.stdout, self.stderr, *(path.read_text(encoding="utf-8", errors="replace") for path in files)]
        )


@pytest.fixture
def navigate(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Navigated]]:
    """Run a playbook of the collection: `navigate("etl_action", {"etl_action_action": "run"}, "--pae", "false")`."""

    # A short name: sockets lie in it, and theirs must not be longer than about a hundred characters.
    temporary = Path(tempfile.mkdtemp(prefix="nav-"))

    def run(playbook: str, variables: Mapping[str, Any], *arguments: object) -> Navigated:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        # Everything that it leaves behind is in these two.
        places = {"HOME": str(project), "TMPDIR": str(temporary), "TERM": "dumb"}
        given = project / "variables.json"
        given.write_text(json.dumps(dict(variables)))
        (project / "play.yml").write_text(
            f"---\n- name: Play\n  ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n"
        )
        command: list[object] = [Path(sys.executable).with_name("ansible-navigator"), "run", "play.yml"]
        command += ["-i", INVENTORY, "--extra-vars", f"@{given}", "--ee", "false", "--mode", "stdout", *arguments]
        command += ["--log-file", project / "navigator.log", "--log-level", "debug"]
        quiet = {name: value for name, value in environment.items() if "CALLBACK" not in name}
        done = subprocess.run(
            [str(word) for word in command],
            env={**quiet, **places},
            cwd=project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        return Navigated(done.returncode, done.stdout, done.stderr, project, temporary, given)

    yield run
    shutil.rmtree(temporary)


def test_an_etl_runs(navigate: Callable[..., Navigated], simulator: SimulatorProcess) -> None:
    simulator.control.put_etl(1, name="Import", duration=0.2)
    answers = {"etl_action_action": "run", "etl_action_etl_id": "1"}
    done = navigate("etl_action", answers, "--pae", "false")
    assert done.rc == 0, done.stdout + done.stderr
    assert "ETL 1 ran and ended with exit OK" in done.stdout
    assert simulator.control.counters()["launches_by_etl"] == {1: 1}
    assert not list(done.folder.glob("*artifact*"))
    done = navigate("etl_action", {**answers, "etl_action_max_age": 600}, "--pae", "false", "--check")
    assert done.rc == 0, done.stdout + done.stderr
    assert "changed=0 " in done.stdout
    assert_no_secret(done.kept, [simulator.access_secret_key, simulator.access_key])


def test_a_chain_that_fails_is_red_and_its_artifact_keeps_no_secret(
    navigate: Callable[..., Navigated], simulator: SimulatorProcess
) -> None:
    simulator.control.put_etl(1, name="Import", duration=0.2)
    simulator.control.put_etl(2, name="Broken", duration=0.2, exit="ERROR")
    secret = {"secret_run_execution_properties": {"password": SECRET_PROPERTY}}
    steps = [{"etl_id": 1, "poll_interval": 1, **secret}, {"name": "bad", "etl_name": "Broken", "poll_interval": 1}]
    done = navigate("etl_chain", {"etl_chain_steps": steps}, "--pae", "true", "--pas", "artifact.json", "-vvv")
    assert done.rc != 0, done.stdout + done.stderr
    assert "ETL 2 (Broken) ended with exit ERROR" in done.stdout, done.stdout + done.stderr
    assert [execution["properties"] for execution in simulator.control.executions(1)] == [{"password": SECRET_PROPERTY}]
    artifact = json.loads((done.folder / "artifact.json").read_text(encoding="utf-8"))
    assert artifact["status"] == "failed"
    assert (done.folder / "navigator.log").stat().st_size > 0
    assert "The chain failed" in "\n".join(artifact["stdout"])
    assert "The chain failed" in done.stdout
    assert SECRET_PROPERTY not in done.kept
    assert_no_secret(done.kept, [simulator.access_secret_key, simulator.access_key])
