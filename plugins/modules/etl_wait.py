#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etl_wait
short_description: Wait for ETLs of BMC Helix Continuous Optimization
version_added: 1.0.0
description:
  - Waits for runs that were started elsewhere, or by M(capacityops.bmc_helix.etl_action) with O(ignore:wait=false).
  - Sends no request that starts or stops anything. It is the safe way to continue after
    RV(capacityops.bmc_helix.etl_action#module:etls[].outcome=not_started) or
    RV(capacityops.bmc_helix.etl_action#module:etls[].outcome=unconfirmed).
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._attributes.reads
  - capacityops.bmc_helix._connection
  - capacityops.bmc_helix._etls
  - capacityops.bmc_helix._etls.groups
  - capacityops.bmc_helix._etls.wait
attributes:
  check_mode:
    details:
      - This module changes nothing. In check mode, it checks the state once and does not wait.
options:
  until:
    description:
      - V(finished) waits until the run has ended; the task fails if it did not end successfully. With O(baseline), the
        run must be newer than the baseline. Without O(baseline), it is the run in progress.
      - V(executing) waits until the ETL is executing, or has executed since the baseline.
      - V(idle) waits until nothing is executing, regardless of the exit code.
    type: str
    choices: [finished, executing, idle]
    default: finished
  baseline:
    description:
      - The C(etls) list of an earlier result of M(capacityops.bmc_helix.etl_action). Its C(before) and C(started_at)
        distinguish the run from an older one.
      - Without a baseline, if nothing is executing, the task fails if the last run failed, and otherwise succeeds with
        a warning, because that proves nothing about a run that was just requested.
      - If an ETL was not started because of O(capacityops.bmc_helix.etl_action#module:max_age), there is no newer run
        to wait for.
    type: list
    elements: dict
  start_timeout:
    description:
      - Seconds, above V(0), within which a run newer than the baseline must be seen, with O(until=finished).
    type: int
    default: 300
  fail_on_warning:
    description:
      - Whether a run that ends with exit WARNING fails the task.
    type: bool
    default: false
seealso:
  - module: capacityops.bmc_helix.etl_action
  - module: capacityops.bmc_helix.etl_info
"""

EXAMPLES = r"""
- name: Start two ETLs
  capacityops.bmc_helix.etl_action:
    action: run
    etl_id: [321, 322]
    wait: false
  register: started

- name: Do something else meanwhile
  ansible.builtin.debug:
    msg: The ETLs are running.

- name: Wait until they end
  capacityops.bmc_helix.etl_wait:
    etl_id: [321, 322]
    baseline: "{{ started.etls }}"
    wait_timeout: 7200

- name: Wait until the ETL is idle
  capacityops.bmc_helix.etl_wait:
    etl_name: Nightly vCenter import
    until: idle
"""

RETURN = r"""
msg:
  description: What happened. For several ETLs, the first line is a count, and one line for each failure follows.
  returned: always
  type: str
  sample: ETL 321 ended with exit OK (waited 42 s).
etls:
  description:
    - One entry for each ETL, in the order given, with the keys of RV(capacityops.bmc_helix.etl_action#module:etls).
    - RV(etls[].outcome) is one of V(succeeded), V(warning), V(failed), V(aborted), V(service_off),
      V(executing), V(idle), V(nothing_to_do), V(not_started), V(not_tried), V(timed_out), V(unconfirmed).
  returned: always
  type: list
  elements: dict
  contains:
    outcome:
      description: The outcome.
      type: str
      returned: always
      sample: succeeded
etl:
  description: The complete entry, if a single ETL was selected.
  returned: if a single ETL was selected
  type: dict
  sample: {"etl_id": 321, "outcome": "succeeded", "changed": false}
error:
  description: Why the task failed, with the keys of RV(capacityops.bmc_helix.etl_action#module:error).
  returned: on failure
  type: dict
  sample: {"kind": "timed_out", "remedy": "Run the task again to continue waiting, or raise wait_timeout."}
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils._actions import LAST_RESULT, SELECTORS, Baseline, carry_out, check_selection
from ..module_utils._errors import OptionError
from ..module_utils._http import Clock
from ..module_utils._module import HelixModule, serve
from ..module_utils._options import SELECTION, connection_argument_spec
from ..module_utils._plan import UNTIL, Policy
from ..module_utils._report import ENDED_WELL
from ..module_utils._run_files import Host
from ..module_utils._status import parse_rfc3339, parse_status


def wait_for(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_wait): wait for runs that were started elsewhere. Sends no action.

    :raises HelixError: no state could be read.
    """
    check_selection(options)
    baselines = _baselines(options["baseline"])
    policy = Policy(
        action="wait",
        until=options["until"],
        check_mode=host.check_mode,
        retries=options["retries"],
        **{name: options[name] for name in ("wait_timeout", "start_timeout", "poll_interval", "fail_on_warning")},
    )
    return carry_out(options, policy, host, baselines)


def _baselines(given: Sequence[Mapping[str, Any]] | None) -> dict[int, Baseline | None]:
    """Earlier entries, or their C(before) with an C(etl_id), as baselines; None if there is no newer run to wait for.

    :raises OptionError: an item is neither.
    """
    baselines: dict[int, Baseline | None] = {}
    for item in given or ():
        entry: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
        etl_id, outcome = str(entry.get("etl_id", "")), entry.get("outcome")
        before = entry.get("before") if "outcome" in entry else entry.get("before", entry)
        status = parse_status(dict(before)) if isinstance(before, Mapping) else None
        is_usable = status is not None or (before is None and outcome is not None)
        if not is_usable or not etl_id.isascii() or not etl_id.isdigit() or int(etl_id) < 1:
            raise OptionError(
                "An item of baseline is not an entry of an earlier result.",
                remedy='Set baseline to the etls list that etl_action returned, for example "{{ started.etls }}".',
            )
        if outcome == "fresh" or (status is None and outcome in ENDED_WELL):
            baselines[int(etl_id)] = None
        elif status is not None:  # otherwise, its state could not be read at that time
            since = entry.get("started_at")
            baselines[int(etl_id)] = Baseline(status, parse_rfc3339(since if isinstance(since, str) else None))
    return baselines


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            **SELECTION,
            **LAST_RESULT,
            "total_timeout": {"type": "int"},
            "details": {"type": "str", "choices": ["auto", "full"], "default": "auto"},
            "until": {"type": "str", "choices": list(UNTIL), "default": "finished"},
            "baseline": {"type": "list", "elements": "dict"},
            "wait_timeout": {"type": "int", "default": 3600, "aliases": ["timeout"]},
            "start_timeout": {"type": "int", "default": 300},
            "poll_interval": {"type": "int", "default": 10, "aliases": ["interval"]},
            "fail_on_warning": {"type": "bool", "default": False},
            "max_parallel": {"type": "int", "default": 8},
        },
        mutually_exclusive=[SELECTORS],
        required_one_of=[SELECTORS],
        supports_check_mode=True,
    )
    serve(module, wait_for, Clock())


if __name__ == "__main__":
    main()
