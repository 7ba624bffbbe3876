# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How ETLs are selected, and how a task waits for them. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    # The ETLs, one by one.
    DOCUMENTATION = r"""
options:
  etl_id:
    description:
      - The ids of the ETLs, each at least V(1). A single id is a list of one.
    type: list
    elements: int
    aliases: [etl_ids]
  etl_name:
    description:
      - The names of the ETLs, exactly as the console shows them. A single name is a list of one. A name that contains a
        comma must be an item of a YAML list.
      - A name that matches no ETL, or several, is an error before anything is started. The message lists similar names.
    type: list
    elements: str
    aliases: [etl_names]
  name_pattern:
    description:
      - Patterns for names, without regard to case. V(*) stands for any characters and V(?) for one character;
        everything else, including brackets, is literal. White space at the ends is ignored.
      - If other patterns match, one that matches no ETL causes a warning.
    type: list
    elements: str
    version_added: 1.1.0
  exclude:
    description:
      - Ids, names, or patterns of ETLs to leave out, with the rules of O(name_pattern). One that matches no ETL causes
        a warning.
    type: list
    elements: str
    version_added: 1.1.0
"""

    # Groups of ETLs.
    GROUPS = r"""
options:
  last_result:
    description:
      - Selects only the ETLs whose last run ended like this. V(never) selects ETLs that never ran.
    type: list
    elements: str
    choices: [failed, aborted, warning, ok, never]
    version_added: 1.1.0
  allow_empty:
    description:
      - Whether the task succeeds if no ETL is selected.
    type: bool
    default: true
    version_added: 1.1.0
  details:
    description:
      - V(auto) leaves C(timeline) and the numbers of polls out of the entries of ETLs that did not fail. If a run
        ended well or was not tried, its entry in C(etls) contains only C(etl_id), C(etl_name), C(changed), C(failed),
        C(outcome), C(after), C(msg), and C(error).
      - V(full) returns everything for every ETL.
    type: str
    choices: [auto, full]
    default: auto
    version_added: 1.1.0
"""

    # Waiting.
    WAIT = r"""
options:
  wait_timeout:
    description:
      - Seconds to wait, above V(0), for each ETL separately, starting with its first status check.
    type: int
    default: 3600
    aliases: [timeout]
  total_timeout:
    description:
      - Seconds for the whole task, above V(0). O(wait_timeout) applies to each ETL.
      - When it expires, ETLs in progress end as with O(wait_timeout), and the others are left alone
        (RV(etls[].outcome=not_tried)).
    type: int
    version_added: 1.1.0
  poll_interval:
    description:
      - Maximum number of seconds between polls, at least V(1). The first polls follow within a second; the pause grows
        with the time that a state lasts.
    type: int
    default: 10
    aliases: [interval]
  max_parallel:
    description:
      - Maximum number of ETLs that execute at the same time while the task waits, and of requests that are sent at the
        same time. From V(1) to V(100).
    type: int
    default: 8
"""
