# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a module meets Ansible: secrets are registered, errors become failures, and it exits.

Private to this collection.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, MissingLibraryError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor

try:
    from ansible.module_utils.secrets import register_secret
except ImportError:
    # ansible-core before 2.22 masks what is in no_log_values, in results only.
    register_secret = None

MISSING_REQUESTS = (
    "This module runs under {python}. Install requests there, or let the host use the Python that Ansible itself runs"
    ' under: ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}" (with ansible_connection: local).'
)


def make_redactor(module: AnsibleModule) -> Redactor:
    """A redactor that tells Ansible about every secret that it learns."""

    def tell(secret: str) -> None:
        module.no_log_values.add(secret)
        if register_secret is not None:
            register_secret(secret)

    return Redactor(tell)


def serve(module: AnsibleModule, work: Callable[[Redactor], dict[str, Any]]) -> None:
    """Do the work and leave with its result."""
    try:
        result = work(make_redactor(module))
    except MissingLibraryError:
        python = sys.executable
        module.fail_json(
            msg=f"{missing_required_lib('requests')} {MISSING_REQUESTS.format(python=python)}",
            etls=[],
            error={"kind": "missing_library", "remedy": MISSING_REQUESTS.format(python=python)},
        )
        return
    except HelixError as error:
        module.fail_json(msg=error.sentence(), changed=False, etls=[], error=error.facts())
        return
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
