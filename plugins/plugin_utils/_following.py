# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a waiting module in slices and says in between how it goes.

Private to this collection. The module alone is complete: with C(async), or where nothing is waited for, it runs in one
piece, and the result is the same. Requests always leave from the host that the task runs on.
"""

from __future__ import annotations

import secrets
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy, describe_seconds
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._report import (
    entry,
    lost_sight,
    refused,
    summary,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._slices import CARRIED

#: Seconds: no two lines about an ETL are nearer to each other.
QUIET = 10.0
#: Seconds: the heartbeat grows from QUIET to this. Some platforms end a job that is silent for five minutes.
SPARSEST = 120.0
#: With more ETLs than this there is one line for all of them.
MOST_LINES = 3

display = Display()


class FollowingAction(ActionBase):
    """Base of the action plugins; C(MODULE) is the module of the same name."""

    MODULE = ""
    _supports_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._supports_async = True
        self._supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        try:
            if self._task.async_val:
                answer = self._execute_module(module_name=self.MODULE, task_vars=task_vars, wrap_async=wrap_async)
            else:
                answer = self._run_in_slices(task_vars)
        finally:
            if not wrap_async:
                self._remove_tmp_path(self._connection._shell.tmpdir)
        result.update(answer)
        return result

    def _run_in_slices(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        key = secrets.token_hex(32)
        carried: dict[str, Any] | None = None
        reporter = Reporter(self._host_label(task_vars))
        number = 0
        while True:
            part = {"number": number, "quiet": QUIET, "beat": heartbeat(number), "carried": carried}
            answer: dict[str, Any] = self._execute_module(
                module_name=self.MODULE,
                module_args={**self._task.args, "_slice": part, "_slice_key": key},
                task_vars=task_vars,
            )
            if CARRIED not in answer:
                return self._without_slice(answer, carried)
            carried = answer[CARRIED]
            number += 1
            elapsed = float(carried["elapsed"])
            if self._task.no_log:
                lines = [reporter.silent(elapsed)]
            else:
                lines = reporter.lines([Progress(**data) for data in carried["progress"]], elapsed)
            for line in lines:
                # On standard error: whoever reads results from standard output (the json callback) is not disturbed.
                display.display(line, stderr=True)

    def _without_slice(self, answer: dict[str, Any], carried: dict[str, Any] | None) -> dict[str, Any]:
        """The module's own result. A module that died in a later slice must not take what was started with it."""
        module_args = (
            answer.get("invocation", {}).get("module_args") if isinstance(answer.get("invocation"), dict) else None
        )
        if isinstance(module_args, dict):
            module_args.pop("_slice", None)
            module_args.pop("_slice_key", None)
        if carried and answer.get("failed") and not answer.get("etls"):
            policy = Policy(action=str(self._task.args.get("action", "wait")))
            died = HelixError(str(answer.get("msg") or "the module did not come to its end."), kind="internal_error")
            elapsed = float(carried["elapsed"])
            entries = [entry(_cut_off(Progress(**data), died, elapsed), policy) for data in carried["progress"]]
            answer.update(
                action=policy.action, changed=any(e["changed"] for e in entries), etls=entries, msg=summary(entries)
            )
            if len(entries) == 1:
                answer["etl"] = entries[0]
        return answer

    def _host_label(self, task_vars: dict[str, Any]) -> str:
        """The host's name where several wait at once, so that their lines can be told apart."""
        hosts = task_vars.get("ansible_play_hosts") or []
        return f"[{task_vars.get('inventory_hostname')}] " if len(hosts) > 1 else ""


def _cut_off(p: Progress, died: HelixError, elapsed: float) -> Progress:
    """What is known of an ETL whose slice died. What was not asked for yet was not started."""
    if not p.done:
        begun = p.accepted or p.ambiguous or p.attached
        problem = lost_sight(p, died) if begun else refused(p, died)
        p.phase, p.outcome, p.failed = "done", "unconfirmed" if begun else "failed", True
        p.ended = None if p.began is None else elapsed
        p.reason, p.remedy, p.error = problem.message, problem.remedy, problem.facts()
    return p


def heartbeat(number: int) -> float:
    """Seconds that slice C(number) lasts if no state changes: 10, 15, 22 … 120."""
    return float(min(QUIET * 1.5 ** min(number, 10), SPARSEST))


class Reporter:
    """Turns progress into lines."""

    def __init__(self, host_label: str) -> None:
        self._prefix = f"  {host_label}"
        self._told: set[int] = set()

    def silent(self, elapsed: float) -> str:
        """The line of a task whose result is not to be shown: only that it goes on."""
        return f"{self._prefix}waiting ({describe_seconds(elapsed)}; no_log hides the rest)"

    def lines(self, progress: list[Progress], elapsed: float) -> list[str]:
        """The lines to print now: one for each ETL under way or just done, or one for all of them."""
        if len(progress) > MOST_LINES:
            return [f"{self._prefix}{describe_seconds(elapsed)}: {_counts(progress)}"]
        fresh = [p for p in progress if p.etl_id not in self._told]
        self._told.update(p.etl_id for p in progress if p.done)
        return [f"{self._prefix}{p.label}: {_state(p, elapsed)}" for p in fresh]


def _state(p: Progress, elapsed: float) -> str:
    if p.began is None:
        return "waits for its turn"
    if p.done:
        return f"{p.outcome} after {describe_seconds((p.ended or elapsed) - p.began)}"
    since = describe_seconds(elapsed - p.began)
    if p.losses:
        return f"cannot be seen at the moment, {p.losses} looks lost ({since})"
    word = p.seen.state if p.seen else "not seen yet"
    if p.phase == "queue":
        return f"{word}, waiting for the run that is under way to end ({since})"
    if p.phase in ("clear", "abandon"):
        return f"{word}, asked to {p.sent} ({since})"
    if p.sent == "run" and not p.seen_executing:
        return f"requested, not started yet, still shows {word} ({since})"
    if p.sent in ("stop", "kill"):
        return f"{word}, asked to {p.sent} ({since})"
    return f"{word} ({since})"


def _counts(progress: list[Progress]) -> str:
    groups: dict[str, list[int]] = {}
    for p in progress:
        if p.began is None:
            word = "waiting for their turn"
        elif p.done:
            word = str(p.outcome)
        elif p.losses:
            word = "not to be seen at the moment"
        else:
            word = p.seen.state if p.seen else "starting"
        groups.setdefault(word, []).append(p.etl_id)
    parts = []
    for word, ids in groups.items():
        named = f" (ETL {', '.join(map(str, ids[:3]))}{' …' if len(ids) > 3 else ''})" if word != "succeeded" else ""
        parts.append(f"{len(ids)} {word}{named}")
    return f"{len(progress)} ETLs: {', '.join(parts)}"
