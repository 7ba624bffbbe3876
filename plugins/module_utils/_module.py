# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file of the library that uses C(AnsibleModule): registers secrets, turns errors into failures, and exits.

Private to this collection.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ._errors import HelixError, MissingLibraryError, OptionError, internal
from ._http import Clock
from ._redaction import Redactor
from ._run_files import CHANNEL, Channel, Host

try:
    from ansible.module_utils.secrets import register_secret
except ImportError:
    # ansible-core before 2.22 masks only results, with the values in no_log_values.
    register_secret = None


class HelixModule(AnsibleModule):
    """C(AnsibleModule) whose every failure has C(etls) and C(error), also if Ansible rejects the options."""

    params: dict[str, Any]

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        remedy = "Correct the options of the task; ansible-doc shows them."
        kwargs.setdefault("etls", [])
        kwargs.setdefault("error", OptionError(str(msg), remedy=remedy).facts())
        super().fail_json(msg, **kwargs)


def make_redactor(module: AnsibleModule) -> Redactor:
    """A redactor that registers every new secret with Ansible."""
    # Core 2.22 prints new secrets with the result of the module, and async_wrapper keeps that in a file that others may
    # read. Nothing that we return contains a token, so with async masking adds nothing, and registering would leak it.
    is_async = "ANSIBLE_ASYNC_DIR" in os.environ

    def register(secret: str) -> None:
        module.no_log_values.add(secret)
        if register_secret is not None and not is_async:
            register_secret(secret)

    return Redactor(register)


def _missing_library() -> HelixError:
    return MissingLibraryError(
        missing_required_lib("requests"),
        remedy=f"This module runs under {sys.executable}. Install requests there, or let the host use Ansible's own"
        ' Python: ansible_python_interpreter: "{{ ansible_playbook_python }}" (with ansible_connection: local).',
    )


def serve(module: HelixModule, work: Callable[[dict[str, Any], Host], dict[str, Any]], clock: Clock) -> None:
    """Do the work and leave with its result."""
    # Otherwise, Python searches everything that was imported for garbage, at its end, too.
    # That is a twentieth of the time of a short task.
    gc.freeze()
    # Ctrl-C ends the process immediately, even if threads wait. The ETLs continue to run.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    redactor = make_redactor(module)
    host = Host(redactor, clock, module.warn, Channel(os.environ.get(CHANNEL)), module.check_mode, module._diff)
    extra: dict[str, Any] = {}
    try:
        result = work(module.params, host)
    except MissingLibraryError:
        result = _failed(_missing_library())
    except HelixError as error:
        result = _failed(error)
    except Exception as error:  # noqa: BLE001 - a traceback could contain a secret
        result = _failed(internal(error, redactor.text))
        extra["exception"] = redactor.masked(traceback.format_exc())
    # The server could return a secret in a field such as a name.
    result = redactor.masked(result)
    if result.pop("failed", False):
        module.fail_json(**result, **extra)
    module.exit_json(**result)


def _failed(error: HelixError) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": error.sentence(), "etls": [], "error": error.facts()}
