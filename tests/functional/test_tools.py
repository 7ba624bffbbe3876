# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The developer's tools: the search for a Python, and what goes into the tarball."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.functional.support import ROOT, run_ansible

# A stand-in for an interpreter: it prints what the probe of dev.sh would print there.
OLD = "echo old 3.9.18"
BARE = "echo bare 3.12.4 /usr/bin/python3.12"
SHIM = "echo pyenv: command not found >&2; exit 127"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A PATH with nothing on it but what dev.sh itself calls."""
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("dirname", "cat", "sh"):
        (path / name).symlink_to(str(shutil.which(name)))
    return path


def put(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def dev_sh(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "tests" / "tools" / "dev.sh"), "help"],
        env={"PATH": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_a_usable_python_is_told_what_to_do(folder: Path) -> None:
    put(folder, "python3.13", SHIM)
    put(folder, "python3.12", BARE)
    put(folder, "python3", OLD)
    done = dev_sh(folder)
    assert done.returncode == 1
    assert "python3.13: does not start" in done.stderr
    assert "python3.12 (3.12.4): cannot make environments" in done.stderr
    assert "python3 (3.9.18): too old" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr


def test_a_python_without_ensurepip_will_do_where_uv_is_installed(folder: Path) -> None:
    put(folder, "python3.12", f"echo bare 3.12.4 {sys.executable}")
    put(folder, "uv", "echo uv 1")
    done = dev_sh(folder)
    assert done.returncode == 0, done.stderr
    assert "make COMMAND" in done.stdout


def test_the_named_python_is_tried_first_and_its_failure_is_mentioned(folder: Path) -> None:
    put(folder, "other", OLD)
    put(folder, "python3.13", f"echo good 3.13.0 {sys.executable}")
    done = dev_sh(folder, PYTHON="other")
    assert done.returncode == 0, done.stderr
    assert "PYTHON=other is of no use here" in done.stderr


def test_the_printed_tables_of_states_are_what_the_code_decides() -> None:
    command = [sys.executable, str(ROOT / "tests" / "tools" / "tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tarball_has_the_simulator_and_no_junk(environment: dict[str, str], tmp_path: Path) -> None:
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
    # What a working tree collects, and .gitignore does not always keep away.
    for junk in (".venv/x", ".cache/x", "dist/x", "tests/output/x", "plugins/modules/__pycache__/x.pyc", "old.tar.gz"):
        (tree / junk).parent.mkdir(parents=True, exist_ok=True)
        (tree / junk).write_text("junk", encoding="utf-8")
    done = run_ansible(["ansible-galaxy", "collection", "build", str(tree)], environment, tmp_path, 60)
    assert done.rc == 0, done.output
    (tarball,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(tarball) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    wanted = {"plugins/modules/etl_action.py", "meta/runtime.yml", "tests/simulator/client.py", "COPYING", "README.md"}
    assert wanted <= names
    unwanted = (".venv", ".cache", ".ci", ".git", "dist", "tests/tools", "tests/functional", "tests/output", "Makefile")
    assert [name for name in names if name.startswith(unwanted) or name.endswith((".pyc", ".tar.gz"))] == []


def test_every_playbook_can_be_played_by_make_demo() -> None:
    variants = runpy.run_path(str(ROOT / "tests" / "tools" / "variants.py"))["VARIANTS"]
    plays = [play for variant in variants.values() for play in variant.plays]
    assert {play.playbook for play in plays} == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    for name in (word for play in plays for word in play.variables if "=" not in word):
        assert (ROOT / "tests" / "demo" / "vars" / name).is_file(), name
    testing = (ROOT / "TESTING.md").read_text(encoding="utf-8")
    assert [name for name in variants if f"| `{name}` |" not in testing] == []
    listed = subprocess.run(
        [sys.executable, "-B", str(ROOT / "tests" / "tools" / "dev.py"), "demo", "list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ")] == [*variants, "all"]
