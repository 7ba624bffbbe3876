# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress for the module of the same name; see plugin_utils/_following.py."""

from __future__ import annotations

from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._following import FollowingAction


class ActionModule(FollowingAction):
    MODULE = "capacityops.bmc_helix.etl_action"
