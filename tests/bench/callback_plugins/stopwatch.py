# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records how long every task took and when it ended, in the place and form of the recorder of the tests."""

from __future__ import annotations

import json
import os
import time
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

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._name, self._began = task.get_name(), time.time()

    def v2_runner_on_ok(self, result: Any) -> None:
        now = time.time()
        event = {"task": self._name, "host": "localhost", "status": "ok", "ignored": False}
        event["result"] = {"seconds": now - self._began, "ended_at": now}
        with Path(os.environ["ANSIBLE_RECORDER_FILE"]).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(event) + "\n")
