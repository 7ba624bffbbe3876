# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ETLs, and what a result entry looks like in words. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    # The ETLs to address.
    DOCUMENTATION = r"""
options:
  etl_id:
    description:
      - The ids of the ETLs. A single id is a list of one. Each at least 1.
      - Exactly one of O(etl_id) and O(etl_name) is needed.
    type: list
    elements: int
  etl_name:
    description:
      - The names of the ETLs, exactly as the console shows them. A single name is a list of one; a name that holds a
        comma must be given in a list.
      - A name that fits no ETL, or several, is an error before anything is started; the nearest names are listed.
    type: list
    elements: str
"""

    # How waiting is done.
    WAIT = r"""
options:
  wait_timeout:
    description:
      - Seconds after which waiting ends, counted for each ETL from its first look.
    type: int
    default: 3600
  poll_interval:
    description:
      - Longest time between two looks at the state of an ETL, in seconds, at least V(1).
      - The first looks come after less than a second; the pause grows with the time that a state lasts.
    type: int
    default: 10
  max_parallel:
    description:
      - How many of the listed ETLs are under way at the same time while the task waits, and how many requests are sent
        at the same time. From V(1) to V(100).
    type: int
    default: 8
"""

    # What the action plugin of the same name hands over from slice to slice of a wait.
    SLICES = r"""
options:
  _slice:
    description:
      - Internal. Set by the action plugin that shows progress, never in a task.
    type: dict
  _slice_key:
    description:
      - Internal. Set by the action plugin that shows progress, never in a task.
    type: str
"""
