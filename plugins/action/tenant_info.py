# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name; see plugin_utils/_action.py."""

from __future__ import annotations

from typing import Any

from ..plugin_utils._action import HelixAction


class ActionModule(HelixAction):
    MODULE = "capacityops.bmc_helix.tenant_info"
    FOLLOWS = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        # In the JSON of an ad hoc run, the table would be one long line. A failed task always shows its message.
        if "checks" in result and not result.get("failed") and not self._task.no_log:
            for line in str(result["msg"]).splitlines():
                self._show(line)
        return result
