# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a module meets Ansible: secrets are registered, errors become failures, and it exits.

Private to this collection.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, MissingLibraryError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._slices import CARRIED

try:
    from ansible.module_utils.secrets import register_secret
except ImportError:
    # ansible-core before 2.22 masks what is in no_log_values, in results only.
    register_secret = None

#: What stands before the host; with or without a scheme, and a password may itself hold any of the marks.
USER_IN_ADDRESS = re.compile(r"(?<=//).*@|^[^/]*:[^/].*@", re.DOTALL)

MISSING_REQUESTS = (
    "This module runs under {python}. Install requests there, or let the host use the Python that Ansible itself runs"
    ' under: ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}" (with ansible_connection: local).'
)


class HelixModule(AnsibleModule):
    """C(AnsibleModule) that tells the system log no password out of an address.

    Such an address is refused, but only after the options were logged; core hides what options named C(no_log) hold,
    and since 2.22 nothing else.
    """

    params: dict[str, Any]

    def _log_invocation(self) -> None:
        given = self.params
        self.params = {
            name: USER_IN_ADDRESS.sub("********@", value) if isinstance(value, str) else value
            for name, value in given.items()
        }
        try:
            super()._log_invocation()
        finally:
            self.params = given


def make_redactor(module: AnsibleModule) -> Redactor:
    """A redactor that tells Ansible about every secret that it learns."""
    # Core 2.22 hands new secrets on in what the module prints, and async_wrapper keeps that in a file that others may
    # read. Nothing that we return holds a token, so there masking adds nothing, and telling would be the leak.
    is_async = "ANSIBLE_ASYNC_DIR" in os.environ

    def tell(secret: str) -> None:
        module.no_log_values.add(secret)
        if register_secret is not None and not is_async:
            register_secret(secret)

    return Redactor(tell)


def serve(module: AnsibleModule, work: Callable[[Redactor], dict[str, Any]]) -> None:
    """Do the work and leave with its result."""
    redactor = make_redactor(module)
    try:
        result = work(redactor)
    except MissingLibraryError:
        python = sys.executable
        result = {
            "failed": True,
            "msg": f"{missing_required_lib('requests')} {MISSING_REQUESTS.format(python=python)}",
            "etls": [],
            "error": {"kind": "missing_library", "remedy": MISSING_REQUESTS.format(python=python)},
        }
    except HelixError as error:
        result = {"failed": True, "msg": error.sentence(), "changed": False, "etls": [], "error": error.facts()}
    except Exception as error:  # noqa: BLE001 - a fault of ours; what Python would print may quote a secret
        problem = HelixError(
            f"An error inside the collection ({type(error).__name__}: {redactor.text(str(error), 200)}).",
            kind="internal_error",
            remedy="Please report it with this message. Look at the state of the ETL before you start it again.",
        )
        result = {"failed": True, "msg": problem.sentence(), "etls": [], "error": problem.facts()}
        result["exception"] = traceback.format_exc()
    if CARRIED not in result:
        # Nothing that we return should hold a secret. This is for the server that puts one where a name belongs.
        result = redactor.masked(result)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
