# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name; see plugin_utils/_action.py."""

from __future__ import annotations

from ..plugin_utils._action import HelixAction


class ActionModule(HelixAction):
    MODULE = "capacityops.bmc_helix.etl_action"
    VARIABLES = ("request_notes",)
