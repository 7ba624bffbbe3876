#!/usr/bin/python
# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tenant_info
short_description: Check the connection to BMC Helix Continuous Optimization
version_added: 1.1.0
description:
  - Checks the connection to a tenant step by step, from name resolution to reading the states of ETLs, and returns one
    row for each check with the remedy if it fails.
  - Describes how the tenant behaves in a profile without secrets, host, and names of ETLs. You can attach it to an
    issue, and the simulator of this collection can behave accordingly.
  - The task takes at most 60 seconds. Each request has a timeout of at most 10 seconds and is not retried.
  - The task fails if a check fails. Checks that need the result of a failed check are skipped.
author:
  - CapacityOps (@capacityops)
extends_documentation_fragment:
  - capacityops.bmc_helix._attributes
  - capacityops.bmc_helix._attributes.reads
  - capacityops.bmc_helix._connection
options:
  probe_write:
    description:
      - Whether to check that the key may start and stop ETLs.
      - Sends one C(stop) request for the ETL 2147483647, which does not exist. The API has no other way to find out.
        The request is not sent if the list of ETLs cannot be read, if it contains this ID, or in check mode.
    type: bool
    default: false
  profile_file:
    description:
      - A file for the profile, on the host that the task runs on. It is replaced as a whole and has the mode V(0600).
      - Its folder must exist. The file is written if the login succeeds, but not in check mode. It does not count as a
        change.
    type: path
notes:
  - Up to 100 states are read, for at most 8 seconds.
  - If O(tenant_id) is set, the module logs in a second time without it to find out whether the portal requires it.
seealso:
  - module: capacityops.bmc_helix.etl_info
  - ref: ansible_collections.capacityops.bmc_helix.docsite.guide_check_tenant
    description: What each check means, and how to use the profile.
"""

EXAMPLES = r"""
- name: Check the connection
  capacityops.bmc_helix.tenant_info:

- name: Check the connection and the permission to start ETLs, and write a profile
  capacityops.bmc_helix.tenant_info:
    probe_write: true
    profile_file: ~/helix-profile.json
  register: tenant

- name: Show the checks that need attention
  ansible.builtin.debug:
    msg: "{{ item.check }}: {{ item.msg }} {{ item.remedy }}"
  loop: "{{ tenant.checks | rejectattr('status', 'in', ['ok', 'skipped']) }}"
  loop_control:
    label: "{{ item.check }}"
"""

RETURN = r"""
msg:
  description: A table with one line for each check, and the remedy of the first check that failed.
  returned: always
  type: str
  sample: |-
    Checks of the tenant: 1 failed, 1 ok.
    ok       name_resolution  acme-itom.onbmc.com is 192.0.2.10.
    FAILED   connection       The request to https://acme-itom.onbmc.com failed: no connection within 10 s.
    Remedy: Check the host and the port in url, the firewall, and the proxy.
checks:
  description: The checks, in order.
  returned: unless an option is not valid or a library is missing
  type: list
  elements: dict
  contains:
    check:
      description:
        - The name of the check.
        - One of V(library), V(proxy), V(name_resolution), V(connection), V(tls), V(clock), V(login), V(token), V(list),
          V(names), V(states), V(values), V(unknown_id), V(trailing_slash), V(accept_header), V(openapi),
          V(write_permission), and V(profile_file).
        - If O(login_url) differs from O(url), the checks V(login_proxy), V(login_name_resolution),
          V(login_connection), and V(login_tls) are added.
      type: str
      returned: always
      sample: tls
    status:
      description: The result, one of V(ok), V(warning), V(failed), and V(skipped).
      type: str
      returned: always
      sample: ok
    msg:
      description: What was found.
      type: str
      returned: always
      sample: "TLSv1.3, the certificate is valid for 88 days. CA bundle used: /etc/ssl/cert.pem (from the system)."
    remedy:
      description: What to do next. Empty if there is nothing to do.
      type: str
      returned: always
      sample: ""
    details:
      description: Values that depend on the check. If it failed, the keys of RV(error) except C(remedy).
      type: dict
      returned: always
      sample: {"protocol": "TLSv1.3", "days_left": 88, "chain_length": 3}
profile:
  description:
    - How the tenant behaves. A field is null if it was not observed.
    - The keys C(format_version) (V(1)) and C(collection_version) are always set. The guide lists all fields.
  returned: unless an option is not valid or a library is missing
  type: dict
  sample: {"format_version": 1, "collection_version": "1.1.0", "status_code": 200, "no_value": "null"}
etls:
  description: Always empty. It is returned so that a C(rescue) section can handle the failures of all modules alike.
  returned: on failure
  type: list
  elements: dict
  sample: []
error:
  description:
    - Why the first check failed, with the keys of RV(capacityops.bmc_helix.etl_action#module:error).
  returned: on failure
  type: dict
  sample: {"kind": "authentication", "http_status": 401, "remedy": "Check access_key and access_secret_key."}
"""

from ..module_utils._http import Clock
from ..module_utils._module import HelixModule, serve
from ..module_utils._options import connection_argument_spec
from ..module_utils._tenant import examine


def main() -> None:
    module = HelixModule(
        argument_spec={
            **connection_argument_spec(),
            "probe_write": {"type": "bool", "default": False},
            "profile_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    serve(module, examine, Clock())


if __name__ == "__main__":
    main()
