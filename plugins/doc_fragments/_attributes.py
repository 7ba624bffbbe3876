# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of all modules. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    # Attributes of every module.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change, without changing anything.
  diff_mode:
    description: Returns details of what has changed (or would change), in diff mode.
  idempotent:
    description: When run twice in a row with the same options outside check mode, the second run changes nothing.
  action_group:
    description: Use C(group/capacityops.bmc_helix.helix) in C(module_defaults) to set options of this module.
    support: full
    membership:
      - capacityops.bmc_helix.helix
"""

    # Attributes of modules that only read.
    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
    details:
      - This module changes nothing.
"""
