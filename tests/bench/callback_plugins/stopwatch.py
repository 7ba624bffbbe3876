# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes when every task began and ended, and the exit codes it saw, to the file named in ANSIBLE_STOPWATCH_FILE."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stopwatch
type: notification
short_description: Times tasks for the bench
description: Times tasks for the bench.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "stopwatch"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._began = time.time()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._began = time.time()

    def v2_runner_on_ok(self, result: Any) -> None:
        now = time.time()
        # From ansible-core 2.19 on the names without an underscore are the public ones.
        new = hasattr(result, "task")
        event = {
            "task": (result.task if new else result._task).get_name(),
            "seconds": now - self._began,
            "ended_at": now,
            "verdicts": dict(_verdicts(result.result if new else result._result)),
        }
        with Path(os.environ["ANSIBLE_STOPWATCH_FILE"]).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(event) + "\n")


def _verdicts(result: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """ETL id and exit code: from etl_action, from one answer that uri got, or from a loop of them."""
    for entry in result.get("etls", []):
        yield entry["etl_id"], entry["after"]["exit_code"]
    for answer in [result, *result.get("results", [])]:
        status = answer.get("json")
        if isinstance(status, dict) and "exit_code" in status:
            yield status["task_id"], status["exit_code"]
