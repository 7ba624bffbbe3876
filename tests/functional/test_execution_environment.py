# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-builder reads from the collection, and the example definition of an execution environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from tests.functional.support import COLLECTION, ROOT, base_environment, run_process

DEFINITION = ROOT / "extensions" / "execution-environment" / "execution-environment.yml"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(importlib.util.find_spec("ansible_builder") is None, reason="ansible-builder is not installed"),
]


def builder(home: Path, *arguments: object) -> None:
    done = run_process(["ansible-builder", *arguments], base_environment(home), home, 100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_collection_says_what_it_needs(tmp_path: Path) -> None:
    link = tmp_path / "ansible_collections" / COLLECTION.replace(".", "/")
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    needed = tmp_path / "requirements.txt"
    builder(tmp_path, "introspect", "--write-pip", needed, tmp_path)
    lines = [line.partition("#")[0].strip() for line in needed.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line] == ["requests>=2.25.1"]


def test_the_example_makes_a_context(tmp_path: Path) -> None:
    builder(tmp_path, "create", "--file", DEFINITION, "--context", tmp_path, "--output-filename", "Containerfile")
    assert "USER 1000" in (tmp_path / "Containerfile").read_text(encoding="utf-8")
    wanted = yaml.safe_load((tmp_path / "_build" / "requirements.yml").read_text(encoding="utf-8"))
    [collection] = wanted["collections"]
    assert collection["name"] == COLLECTION
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    least = collection["version"].partition(",")[0].removeprefix(">=")
    assert version.split(".") >= least.split("."), "the example asks for a version that is not out yet"
