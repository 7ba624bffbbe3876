#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etl_info
short_description: List ETLs of BMC Helix Continuous Optimization with their states
version_added: 1.0.0
description:
  - Lists the ETLs that the key may see, all of them or by id, name or pattern, with their states, read in parallel.
  - Task groups of the console can hide ETLs from a key; such ETLs are missing in the list.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._attributes.reads
  - capacityops.bmc_helix._connection
options:
  etl_id:
    description:
      - The ids of the ETLs. An id that is not in the list is an error.
    type: list
    elements: int
  etl_name:
    description:
      - The names of the ETLs, exactly as the console shows them. A name that fits none, or several, is an error.
    type: list
    elements: str
  name_pattern:
    description:
      - A shell-style pattern for names (V(*), V(?), V([...])), upper and lower case alike. It may fit none.
    type: str
  gather_status:
    description:
      - Whether to ask for the state of each ETL, which takes one request for each.
    type: bool
    default: true
  max_parallel:
    description:
      - How many requests are sent at the same time. From V(1) to V(100).
    type: int
    default: 8
seealso:
  - module: capacityops.bmc_helix.etl_action
  - module: capacityops.bmc_helix.etl_wait
"""

EXAMPLES = r"""
- name: List all vCenter ETLs
  capacityops.bmc_helix.etl_info:
    name_pattern: "*vcenter*"
  register: found

- name: Show those whose last execution is older than a day
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.status }}, exit {{ item.exit_code }}"
  loop: "{{ found.etls | selectattr('age_seconds', 'number') | selectattr('age_seconds', 'gt', 86400) }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
msg:
  description: How many ETLs were found, or what went wrong.
  returned: always
  type: str
  sample: 2 ETLs.
etls:
  description: The ETLs, in the order of the options, else of the server.
  returned: always
  type: list
  elements: dict
  contains:
    etl_id:
      description: The id.
      type: int
      returned: always
      sample: 53
    name:
      description: The name.
      type: str
      returned: always
      sample: VMware - vCenter Extractor Service
    run_configurations:
      description: The run configurations; the active one is used by a run.
      type: list
      elements: dict
      returned: always
      sample: [{"name": "Default", "active": true, "run_configuration_id": 216}]
    status:
      description: The state word of the server; null for an ETL that never ran.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: SERVICE_ON
    kind:
      description: What the state tells about the kind of the ETL - V(batch), V(service) or V(unknown).
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: service
    executing:
      description: Whether it is known to execute at the moment.
      type: bool
      returned: with O(gather_status=true), if it could be read
      sample: true
    exit_code:
      description: How the last execution ended. Null where there was none; service ETLs have none.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: OK
    last_exec_ts:
      description: Time of the last execution.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: "2026-11-23T14:56:28Z"
    age_seconds:
      description: Seconds since then by the server's clock; null where there was none.
      type: int
      returned: with O(gather_status=true), if it could be read
      sample: 3600
    msg:
      description: Why the state could not be read.
      type: str
      returned: if it could not be read
      sample: The status of ETL 53 was forbidden (HTTP 403).
    error:
      description: As RV(error), for this ETL.
      type: dict
      returned: if the state could not be read
      sample: {"kind": "permission", "http_status": 403}
error:
  description: Why the task failed, with the keys of RV(capacityops.bmc_helix.etl_action#module:error).
  returned: on failure
  type: dict
  sample: {"kind": "etl_not_found", "remedy": "Check the ids in the console, and the task groups of the key."}
"""

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._module import HelixModule, serve
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._actions import inform
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import connection_argument_spec


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            "etl_id": {"type": "list", "elements": "int"},
            "etl_name": {"type": "list", "elements": "str"},
            "name_pattern": {"type": "str"},
            "gather_status": {"type": "bool", "default": True},
            "max_parallel": {"type": "int", "default": 8},
        },
        mutually_exclusive=[("etl_id", "etl_name", "name_pattern")],
        supports_check_mode=True,
    )
    serve(module, inform, Clock())


if __name__ == "__main__":
    main()
