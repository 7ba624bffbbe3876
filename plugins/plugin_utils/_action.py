# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base of the action plugins: runs the module of the same name once, with the connection variables and live progress.

Private to this collection. Requests always leave from the host that the task runs on. The module works alone, too:
with C(async), over ssh, or as another user, there is no live progress, and the result is the same.
"""

from __future__ import annotations

import atexit
import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._errors import HelixError
from ..module_utils._options import CONNECTION, without_password
from ..module_utils._report import summary
from ..module_utils._run_files import CHANNEL
from ._progress import Reporter, Tail, cut_off, farewells

display = Display()


def _say_farewell(player: int) -> None:
    """After Ctrl-C, the workers are dead. Only the main process, which has loaded this plugin, too, can still print."""
    if os.getpid() == player:
        for line in farewells(str(constants.DEFAULT_LOCAL_TMP)):
            display.display(line, stderr=True)


atexit.register(_say_farewell, os.getpid())


class HelixAction(ActionBase):
    """C(MODULE) is the module of the same name; C(FOLLOWS) is whether it shows live progress."""

    MODULE = ""
    FOLLOWS = True
    #: Other options that can be set by a variable.
    VARIABLES: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._supports_async = True
        self._supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        module_args = {**self._from_variables(task_vars), **self._task.args}
        for option in ("url", "login_url"):
            if isinstance(module_args.get(option), str):
                module_args[option] = without_password(module_args[option])

        def module() -> dict[str, Any]:
            answer: dict[str, Any] = self._execute_module(
                module_name=self.MODULE, module_args=module_args, task_vars=task_vars, wrap_async=wrap_async
            )
            return answer

        try:
            result.update(self._followed(module, task_vars) if self.FOLLOWS else module())
        finally:
            if not wrap_async:
                self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _from_variables(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Connection options that the task does not set, from the C(helix_*) variables. Empty ones count as unset."""
        values: dict[str, Any] = {}
        omitted = task_vars.get("omit")
        for name in (*CONNECTION, *self.VARIABLES):
            variable = f"helix_{name}"
            if name in self._task.args or variable not in task_vars:
                continue
            value = self._templar.template(task_vars[variable])
            if value is not None and value != omitted and str(value).strip():
                values[name] = value
        return values

    def _about(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The task, its host, and the folder of the notes of this run, if the module can read it."""
        folder = Path(constants.DEFAULT_LOCAL_TMP)
        # A batch (serial), or another play with the same role, starts another run. Failed hosts leave the lists.
        hosts, batch = (task_vars.get(f"ansible_play_{name}") or [] for name in ("hosts", "batch"))
        if len(batch) == len(hosts):
            batch = task_vars.get("ansible_play_hosts_all") or []
        # A host with other properties does not ask for the same run.
        properties = str(self._task.args.get("run_execution_properties"))
        same = hashlib.sha256("\n".join([*batch, properties]).encode()).hexdigest()[:16]
        about = {
            "run": folder.name,
            "task": f"{self._task.get_path()} {same}",
            "host": str(task_vars.get("inventory_hostname")),
        }
        become = getattr(self._connection, "become", None)
        user = become.get_option("become_user", playcontext=self._play_context) if become else "root"
        if self._connection.transport == "local" and user in ("root", getpass.getuser()):
            about["notes"] = str(folder)
        return about

    @contextmanager
    def _environment(self, channel: str) -> Iterator[None]:
        given = self._task.environment
        self._task.environment = [*(given if isinstance(given, list) else [given] if given else []), {CHANNEL: channel}]
        try:
            yield
        finally:
            self._task.environment = given

    def _followed(self, module: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        about, tail = self._about(task_vars), None
        if "notes" in about and not self._task.async_val:
            several = len(task_vars.get("ansible_play_hosts") or ()) > 1
            about.update(hidden=bool(self._task.no_log), player=os.getppid())
            reporter = Reporter(f"  [{about['host']}] " if several else "  ", about["hidden"])
            try:
                tail = Tail(about["notes"], about, self._show, reporter)
            except OSError as error:
                display.vvv(f"{self.MODULE}: no live progress ({error.strerror})")
        if tail is None:
            with self._environment(json.dumps(about)):
                return dict(module())
        with tail, self._environment(tail.path):
            answer: dict[str, Any] = module()
        return self._completed(answer, tail.entries)

    def _show(self, line: str) -> None:
        # On standard error, because programs read results from standard output (the json callback).
        display.display(line, stderr=True)

    def _completed(self, answer: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
        """The result of the module. If the module died, the result contains what it had started."""
        if entries and answer.get("failed") and "etls" not in answer:
            reason = " ".join(str(answer.get("msg") or "The module did not come to its end").split()).rstrip(".")
            problem = HelixError(
                f"{reason}.",
                kind="internal_error",
                remedy="Check the state of the ETL before you start it again, or wait for it with etl_wait.",
            )
            etls = cut_off(entries, problem)
            answer.update(changed=any(e["changed"] for e in etls), etls=etls, msg=summary(etls), error=problem.facts())
            if len(etls) == 1:
                answer["etl"] = etls[0]
        return answer
