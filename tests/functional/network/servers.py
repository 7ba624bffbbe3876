# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import RawServer

__all__ = ["RawServer"]
