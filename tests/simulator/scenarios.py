# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scenes to begin with."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from .checks import InputError

DEMO: dict[str, Any] = {
    "etls": [
        {
            "id": 53,
            "name": "VMware - vCenter Extractor Service",
            "kind": "service",
            "state": "SERVICE_ON",
            "stop_lag": 2,
        },
        {
            "id": 118,
            "name": "AWS - Nightly Cost and Usage",
            "kind": "periodic",
            "duration": 20,
            "start_lag": 3,
            "last_exec_age": 50_000,
        },
        {
            "id": 321,
            "name": "Nightly vCenter import",
            "state": "ENDED",
            "duration": 8,
            "start_lag": 2,
            "last_exec_ts": "2022-09-08T14:56:28Z",
        },
        {
            "id": 322,
            "name": "Oracle - Database Extractor",
            "state": "ENDED",
            "exit_code": "OK",
            "duration": 6,
            "start_lag": 1,
            "exit": "ERROR",
            "last_exec_age": 3 * 86400,
        },
        {
            "id": 323,
            "name": "Kubernetes - Prometheus Extractor",
            "kind": "periodic",
            "exit_code": "WARNING",
            "duration": 5,
            "start_lag": 1,
            "exit": "WARNING",
            "last_exec_age": 2_700,
        },
        {
            "id": 402,
            "name": "Mainframe - z/OS Extractor (remote engine inactive)",
            "state": "ABORTED",
            "engine": "inactive",
            "last_exec_age": 40 * 86400,
        },
    ]
}
BUILT_IN: dict[str, dict[str, Any]] = {"empty": {}, "demo": DEMO}


def scenario_named(name: str) -> dict[str, Any]:
    if name not in BUILT_IN:
        raise InputError(f"There is no scenario '{name}'; there are {', '.join(BUILT_IN)}.")
    return copy.deepcopy(BUILT_IN[name])


def scenario_from(name_or_file: str) -> dict[str, Any]:
    """A built-in scenario or one in a JSON file."""
    if name_or_file in BUILT_IN:
        return scenario_named(name_or_file)
    try:
        scenario = json.loads(Path(name_or_file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The scenario '{name_or_file}' cannot be read: {error}.") from error
    if not isinstance(scenario, dict):
        raise InputError(f"The scenario '{name_or_file}' must hold a JSON object.")
    return scenario
