# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository: what goes into the tarball, and what the Makefile finds on a bare machine."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.functional.support import ROOT, run_ansible

pytestmark = pytest.mark.one_core


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    tree = tmp_path / "tree"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def test_a_machine_without_a_usable_python_is_told_what_to_do(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "head", "make"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, script in {
        "python3": "echo 3.9.18 is too old >&2; exit 1",
        "python3.13": "echo pyenv: command not found >&2; exit 127",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    env = {"PATH": str(folder), "HOME": str(tmp_path)}
    done = subprocess.run(["make", "test"], cwd=checkout, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Install Python 3.11 or later with its venv module" in done.stderr
    assert "python3: 3.9.18 is too old" in done.stderr
    assert "python3.13: pyenv: command not found" in done.stderr


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
