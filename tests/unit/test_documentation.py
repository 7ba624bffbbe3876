# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""README and guides agree with the code. A failure of the table "state x action" shows the text to paste."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import (
    ACTIONS,
    IF_RUNNING,
    NOTHING,
    SEND,
    Policy,
    plan,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, STATES, EtlStatus

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "SOMETHING"
NAMES = {NEVER: "never run", UNKNOWN: "any other word"}
ENDED_AT, NOW = "2026-11-23T12:00:00Z", 1795435260.0  # a minute later


def cell(action: str, state: str, code: str) -> str:
    """What `plan` decides for the action in this state; `code` stands around the names of options."""
    status = EtlStatus(state, None if state == NEVER else "OK", None if state == NEVER else ENDED_AT)
    usual = plan(Policy(action), status, NOW)
    if action == "run":
        decisions = [plan(Policy(action, if_running=word), status, NOW).do for word in IF_RUNNING]
        if len(set(decisions)) > 1:
            return f"{code}if_running{code}: {', '.join(decisions)}"
        spared = plan(Policy(action, max_age=3600), status, NOW)
        if spared.do != usual.do:
            return f"{usual.do}, or {spared.do} if {spared.outcome} ({code}max_age{code})"
    words = {SEND: "send", NOTHING: "nothing"}[usual.do]
    return f"{words}, with a warning" if usual.warning else words


def rows(code: str) -> list[list[str]]:
    """Head and body. States in which every action does the same share a row."""
    body: list[list[str]] = []
    for state in (*STATES, UNKNOWN):
        cells = [cell(action, state, code) for action in ACTIONS]
        if body and body[-1][1:] == cells:
            body[-1][0] += f", {NAMES.get(state, state)}"
        else:
            body.append([NAMES.get(state, state), *cells])
    return [["state", *(f"{code}{action}{code}" for action in ACTIONS)], *body]


def markdown() -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows("`")]
    return "\n".join([head, "| --- " * (1 + len(ACTIONS)) + "|", *body]) + "\n"


def restructured() -> str:
    lines = [f"   {'  -' if number else '* -'} {text}\n" for row in rows("``") for number, text in enumerate(row)]
    return "".join([".. list-table::\n   :header-rows: 1\n   :widths: auto\n\n", *lines])


@pytest.mark.parametrize(
    ("file", "table"), [("README.md", markdown), ("docs/docsite/rst/guide_waiting.rst", restructured)]
)
def test_the_table_of_states_and_actions(file: str, table: Any) -> None:
    text = table()
    assert text in (ROOT / file).read_text(encoding="utf-8"), text


def test_every_playbook_has_a_section_with_the_variables_that_its_comment_names() -> None:
    page = (ROOT / "docs" / "docsite" / "rst" / "playbooks.rst").read_text(encoding="utf-8")
    parts = re.split(r"^``(\w+)``\n-+\n", page, flags=re.MULTILINE)
    told = {
        name: re.findall(r"^   \* - ``([a-z]\S+)``", section, flags=re.MULTILINE)
        for name, section in zip(parts[1::2], parts[2::2])
    }
    named = {
        path.stem: re.findall(r"^#   ((?:[a-z]\w+_)(?:\w+|\*)) +\S", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in (ROOT / "playbooks").glob("*.yml")
    }
    assert told == {name: [word for word in words if word != "helix_*"] for name, words in named.items()}


@pytest.mark.parametrize("role", sorted(path.name for path in (ROOT / "roles").iterdir()))
def test_the_readme_of_a_role_has_every_variable_and_its_default(role: str) -> None:
    folder = ROOT / "roles" / role
    text = (folder / "README.md").read_text(encoding="utf-8")
    spec = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = spec["argument_specs"]["main"]["options"]
    assert set(re.findall(rf"^\| `({role}_\w+)` \|", text, re.MULTILINE)) == set(options)
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text(encoding="utf-8"))
    for name, option in options.items():
        assert option.get("default", defaults.get(name)) == defaults.get(name), name
        if isinstance(option.get("default"), (str, int)) and option["default"] not in ("", True, False):
            assert f"| `{name}` | `{option['default']}` |" in text, name
