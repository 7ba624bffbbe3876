# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-builder reads from the collection, and the example definition of an execution environment."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.functional.support import COLLECTION, ROOT, SITE_PACKAGES, base_environment

DEFINITION = ROOT / "extensions" / "execution-environment" / "execution-environment.yml"
BUILDER = Path(sys.executable).with_name("ansible-builder")

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(importlib.util.find_spec("ansible_builder") is None, reason="ansible-builder is not installed"),
]


def builder(*arguments: object, home: Path) -> str:
    done = subprocess.run(
        [BUILDER, *map(str, arguments)],
        env=base_environment(home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_collection_says_what_it_needs(tmp_path: Path) -> None:
    collections = tmp_path / "ansible_collections" / COLLECTION.replace(".", "/")
    collections.parent.mkdir(parents=True)
    collections.symlink_to(SITE_PACKAGES / "ansible_collections" / COLLECTION.replace(".", "/"))
    needed = tmp_path / "requirements.txt"
    builder("introspect", "--write-pip", needed, tmp_path, home=tmp_path)
    lines = [line.partition("#")[0].strip() for line in needed.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line] == ["requests>=2.25.1"]
    assert f"collection {COLLECTION}" in needed.read_text(encoding="utf-8")


def test_the_example_makes_a_context(tmp_path: Path) -> None:
    context = tmp_path / "context"
    builder("create", "--file", DEFINITION, "--context", context, "--output-filename", "Containerfile", home=tmp_path)
    container = (context / "Containerfile").read_text(encoding="utf-8")
    assert "ansible-galaxy collection install" in container
    assert "USER 1000" in container
    wanted = yaml.safe_load((context / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    [collection] = wanted["collections"]
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert collection["name"] == f"{galaxy['namespace']}.{galaxy['name']}"
    least = collection["version"].partition(",")[0].removeprefix(">=")
    assert galaxy["version"].split(".") >= least.split("."), "the example asks for a version that is not out yet"
