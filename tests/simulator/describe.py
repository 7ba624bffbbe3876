# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the tables of README.md from the definitions: `python -m tests.simulator.describe`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from .checks import fields_of
from .etl_settings import Behaviour, StartState
from .faults import KINDS, Fault
from .settings import Settings


def tables() -> dict[str, str]:
    return {
        "Fields of an ETL": _settings(StartState, Behaviour),
        "Configuration": _settings(Settings),
        "Kinds of faults": _kinds(),
        "Parameters of faults": _settings(Fault, leave_out="kind"),
    }


def _settings(*owners: type, leave_out: str = "") -> str:
    rows = [
        f"| `{field.name}` | {_default(field)} | {_meaning(field)} |"
        for owner in owners
        for field in fields_of(owner).values()
        if field.name != leave_out
    ]
    return "\n".join(["| name | default | meaning |", "| --- | --- | --- |", *rows])


def _meaning(field: dataclasses.Field[Any]) -> str:
    doc: str = field.metadata["doc"]
    choices: tuple[str, ...] = field.metadata["choices"]
    if not choices or all(f"`{choice}`" in doc for choice in choices):
        return doc
    return f"{doc}: {', '.join(f'`{choice}`' for choice in choices)}"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    is_told = field.default is None and "default" in field.metadata["doc"].lower()
    return "" if is_told else f"`{json.dumps(field.default)}`"


def _kinds() -> str:
    rows = [
        f"| `{kind}` | {'yes' if works else 'no'} | {', '.join(f'`{name}`' for name in names)} | {doc} |"
        for kind, (works, names, doc) in KINDS.items()
    ]
    return "\n".join(["| kind | carried out | parameters | what happens |", "| --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    for title, table in tables().items():
        print(f"## {title}\n\n{table}\n")
