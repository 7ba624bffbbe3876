# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository: what is tested is the checkout, warnings fail a test, the tarball, and `make` on a bare machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _status

from tests.functional.support import COLLECTION, INVENTORY, ROOT, Played, run_ansible
from tests.simulator.client import SimulatorProcess


def test_the_checkout_is_tested_and_nothing_is_written_into_it(environment: dict[str, str], tmp_path: Path) -> None:
    """A copy in the home folder or in `collections/` would be tested in its place."""
    code = f"import ansible_collections.{COLLECTION}.plugins.module_utils._status as m; print(m.__file__)"
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    for path in (_status.__file__, printed.strip()):
        assert Path(path).resolve() == ROOT / "plugins" / "module_utils" / "_status.py"
    done = run_ansible(["ansible-doc", "--json", f"{COLLECTION}.etl_action"], environment, tmp_path, 60)
    assert f'"filename": "{environment["ANSIBLE_COLLECTIONS_PATH"]}/ansible_collections/' in done.stdout
    # pytest-ansible writes links unless it is told not to. The file is for AWX; git knows it.
    assert [path.name for path in (ROOT / "collections").iterdir()] == ["requirements.yml"]


@pytest.mark.every_core
def test_warnings_in_a_play_fail_the_test(play: Callable[..., Played]) -> None:
    tasks = "- hosts: nobody\n  tasks: []\n"
    with pytest.raises(AssertionError, match="Could not match supplied host pattern"):
        play(tasks)


# pytest-ansible's own way to run a module is its host manager. That works on every ansible-core from 2.16 to 2.22,
# but it is deprecated as a whole (each of its fixtures calls it, and `ansible_host` ends the test run on 2.19+), it
# runs Ansible inside the test process, where neither environment nor output is the user's, and it has no check mode
# for a single call. So this one test shows that it works, and all others use `play`, `adhoc` and `module`.
@pytest.mark.one_core
@pytest.mark.filterwarnings("ignore:Host management is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:AnsibleCollectionFinder has already been configured:UserWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pytest_ansible_runs_the_real_module(
    ansible_adhoc: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.control.put_etl(321, duration=1)
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    hosts = ansible_adhoc(inventory=str(INVENTORY), host_pattern="localhost")
    result = getattr(hosts.localhost, f"{COLLECTION}.etl_action")(action="run", etl_id=321)["localhost"]
    assert result["changed"] is True, dict(result)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tree = tmp_path / "tree"
    for name in filter(None, subprocess.check_output(command, cwd=ROOT, text=True).split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


@pytest.mark.one_core
def test_a_machine_without_a_usable_python_is_told_what_to_do(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "head", "make"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, words in (("python3", "3.9.18 is too old"), ("python3.13", "pyenv: command not found")):
        (folder / name).write_text(f"#!/bin/sh\necho {words} >&2\nexit 1\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    env = {"PATH": str(folder), "HOME": str(tmp_path)}
    done = subprocess.run(["make", "test"], cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Install Python 3.11 or later with its venv module" in done.stderr
    assert "python3: 3.9.18 is too old" in done.stderr
    assert "python3.13: pyenv: command not found" in done.stderr


@pytest.mark.one_core
def test_the_tarball_has_the_simulator_and_no_junk(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    # What a working tree collects, and .gitignore does not always keep away.
    for junk in (".venv/x", ".cache/x", "dist/x", "tests/output/x", "plugins/modules/__pycache__/x.pyc", "old.tar.gz"):
        (checkout / junk).parent.mkdir(parents=True, exist_ok=True)
        (checkout / junk).write_text("junk", encoding="utf-8")
    done = run_ansible(["ansible-galaxy", "collection", "build", str(checkout)], environment, tmp_path, 60)
    assert done.rc == 0, done.output
    (tarball,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(tarball) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    wanted = {"plugins/modules/etl_action.py", "meta/runtime.yml", "tests/simulator/client.py", "COPYING", "README.md"}
    assert wanted <= names
    unwanted = (
        ".",
        "dist",
        "tests/functional",
        "tests/output",
        "tests/demo",
        "Makefile",
        "noxfile.py",
        "pyproject.toml",
    )
    assert [name for name in names if name.startswith(unwanted) or name.endswith((".pyc", ".tar.gz"))] == []
