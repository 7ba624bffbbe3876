# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the table "state x action -> what is done" into README.md and a guide, as `_plan.plan` decides it.

Runs in an environment in which the collection can be imported: `make tables`. With --check it only compares, which a
test does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

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
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "docsite" / "rst" / "guide_waiting.rst"
#: Not a word that the service is known to say.
UNKNOWN = "SOMETHING"
ENDED_AT, NOW = "2026-11-23T12:00:00Z", 1795435260.0  # a minute later


def cell(action: str, state: str, code: str) -> str:
    """What the action does in this state; `code` stands around names of options."""
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
        name = {NEVER: "never run", UNKNOWN: "any other word"}.get(state, state)
        cells = [cell(action, state, code) for action in ACTIONS]
        if body and body[-1][1:] == cells:
            body[-1][0] += f", {name}"
        else:
            body.append([name, *cells])
    return [["state", *(f"{code}{action}{code}" for action in ACTIONS)], *body]


def markdown() -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows("`")]
    return "\n".join([head, "| --- " * (1 + len(ACTIONS)) + "|", *body])


def restructured() -> str:
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    for row in rows("``"):
        lines += [f"   {'* -' if number == 0 else '  -'} {text}" for number, text in enumerate(row)]
    return "\n".join(lines)


def updated(path: Path) -> str:
    """The text of the file with the table of today between its two marks."""
    comment = "<!-- {} -->" if path.suffix == ".md" else ".. {}"
    begin, end = (comment.format(words) for words in ("state table", "end of state table"))
    gap = "\n" if path.suffix == ".md" else "\n\n"
    table = markdown() if path.suffix == ".md" else restructured()
    pattern = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)}\n)", re.DOTALL)
    text, count = pattern.subn(lambda _found: f"{gap[1:]}{table}{gap}", path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path.name} should hold '{begin}' and '{end}' once, each in a line of its own.")
    return text


def main() -> int:
    new = {path: updated(path) for path in (README, GUIDE)}
    if sys.argv[1:] == ["--check"]:
        old = [path.name for path, text in new.items() if path.read_text(encoding="utf-8") != text]
        for name in old:
            print(f"{name} has another table than the code: make tables")
        return int(bool(old))
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
