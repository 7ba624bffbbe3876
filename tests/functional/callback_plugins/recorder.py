# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes what every task returned to the file named in ANSIBLE_RECORDER_FILE, one JSON document a line.

It prints nothing, so the tests also have the output exactly as a person sees it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorder
type: notification
short_description: Records task results for the tests
description: Records task results for the tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorder"
    CALLBACK_NEEDS_ENABLED = True

    def _record(self, status: str, result: Any, ignored: bool = False) -> None:
        # From ansible-core 2.19 on the names without an underscore are the public ones.
        new = hasattr(result, "task")
        task = result.task if new else result._task
        host = result.host if new else result._host
        event = {
            "task": task.get_name(),
            "host": host.get_name(),
            "status": status,
            "ignored": ignored,
            "result": result.result if new else result._result,
        }
        with Path(os.environ["ANSIBLE_RECORDER_FILE"]).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(event, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._record("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._record("failed", result, ignored=bool(ignore_errors))

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._record("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._record("unreachable", result)
