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
  - Lists the ETLs that are visible to the key with their states, which are read in parallel. You can select them by id,
    name, or pattern.
  - Task groups of the console can hide ETLs from a key.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._attributes.reads
  - capacityops.bmc_helix._connection
  - capacityops.bmc_helix._etls
options:
  gather_status:
    description:
      - Whether to read the state of each ETL, which takes one request per ETL.
    type: bool
    default: true
  max_parallel:
    description:
      - Maximum number of requests that are sent at the same time. From V(1) to V(100).
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

- name: Show the ETLs whose last run is older than a day
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
summary:
  description: The ETLs as a text table.
  returned: if the list could be read
  type: str
  sample: |-
    ID  NAME            STATE  EXIT  LAST RUN              AGE
    53  Nightly import  ENDED  OK    2026-11-23T14:56:28Z  60 min
etls:
  description: The ETLs, in the order of the options, or in the order of the server.
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
      description: The state; null for an ETL that never ran.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: SERVICE_ON
    kind:
      description: The kind of the ETL, as far as the state shows it - V(batch), V(service), or V(unknown).
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: service
    executing:
      description: Whether it is known to be executing.
      type: bool
      returned: with O(gather_status=true), if it could be read
      sample: true
    exit_code:
      description: The exit code of the last run. Null if there was no run; service ETLs have no exit code.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: OK
    last_exec_ts:
      description: The time of the last run.
      type: str
      returned: with O(gather_status=true), if it could be read
      sample: "2026-11-23T14:56:28Z"
    age_seconds:
      description: Seconds since then by the server's clock; null if there was no run.
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

from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils._actions import SELECTORS, check_selection, look_at, select
from ..module_utils._api import Etl, HelixApi, connect
from ..module_utils._errors import EtlNotFoundError, HelixError
from ..module_utils._http import Clock
from ..module_utils._module import HelixModule, serve
from ..module_utils._options import SELECTION, check_numbers, connection_argument_spec
from ..module_utils._plan import describe_seconds
from ..module_utils._run_files import Host
from ..module_utils._status import EtlStatus, columns


def inform(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_info): the ETLs that are visible to this key, with their states.

    :raises HelixError: the list could not be read, or a name or id is not in it.
    """
    check_numbers(options)
    if any(options.get(option) is not None for option in SELECTORS):
        check_selection(options)
    api = connect(options, host.redactor, host.clock, options["max_parallel"])
    try:
        chosen = _chosen(options, api, host)
        looks: Sequence[EtlStatus | HelixError | None] = [None] * len(chosen)
        if options["gather_status"]:
            looks = look_at(api, [etl.etl_id for etl in chosen], options["max_parallel"])
        now = api.transport.server_now()
    finally:
        api.transport.close()
    entries = [_info_entry(etl, look, now) for etl, look in zip(chosen, looks)]
    bad = [entry for entry in entries if "error" in entry]
    result: dict[str, Any] = {"changed": False, "failed": bool(bad), "etls": entries, "summary": table(entries)}
    result["msg"] = f"{len(entries)} ETLs." if len(entries) != 1 else "1 ETL."
    if bad:
        ids = ", ".join(str(entry["etl_id"]) for entry in bad[:10])
        result["msg"] = (
            f"The state of {len(bad)} of {len(entries)} ETLs could not be read (ids {ids}"
            f"{', …' if len(bad) > 10 else ''}). {bad[0]['msg']}"
        )
        result["error"] = bad[0]["error"]
    return result


def _chosen(options: Mapping[str, Any], api: HelixApi, host: Host) -> list[Etl]:
    known = {etl.etl_id: etl for etl in api.list_etls()}
    targets = select(options, api, host.warn)
    missing = [target.etl_id for target in targets if target.etl_id not in known]
    if missing:
        raise EtlNotFoundError(
            f"There is no ETL with the id {', '.join(map(str, missing))}, or it is not visible to this key.",
            remedy="Check the ids in the console, and the task groups of the key.",
        )
    return [known[target.etl_id] for target in targets]


def table(entries: Sequence[dict[str, Any]]) -> str:
    """The ETLs of C(etl_info) as a table for people."""
    rows = [("ID", "NAME", "STATE", "EXIT", "LAST RUN", "AGE")]
    for e in entries:
        state = "not readable" if "error" in e else (e.get("status") or "-") if "kind" in e else ""
        age = "" if e.get("age_seconds") is None else describe_seconds(e["age_seconds"])
        rows.append((str(e["etl_id"]), e["name"], state, e.get("exit_code") or "", e.get("last_exec_ts") or "", age))
    widths = [max(map(columns, column)) for column in zip(*rows)]
    padded = ([text + " " * (width - columns(text)) for text, width in zip(row, widths)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _info_entry(etl: Etl, look: EtlStatus | HelixError | None, now: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "etl_id": etl.etl_id,
        "name": etl.name,
        "run_configurations": etl.run_configurations,
    }
    if isinstance(look, HelixError):
        entry.update(msg=look.sentence(), error=look.facts())
    elif look is not None:
        moment = look.moment
        entry.update(look.public(), kind=look.kind, executing=look.executing)
        entry["age_seconds"] = None if moment is None else max(0, int(now - moment))
    return entry


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            **SELECTION,
            "gather_status": {"type": "bool", "default": True},
            "max_parallel": {"type": "int", "default": 8},
        },
        mutually_exclusive=[SELECTORS],
        supports_check_mode=True,
    )
    serve(module, inform, Clock())


if __name__ == "__main__":
    main()
