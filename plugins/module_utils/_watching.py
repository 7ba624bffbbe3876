# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at one ETL: what was seen, and what it says about the request.

Private to this collection. Keeps its findings in C(Progress); it sends nothing.
"""

from __future__ import annotations

from typing import Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _plan as planning
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import AuthenticationError, HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import backoff
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy, Verdict
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, EtlStatus
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._timefmt import parse_rfc3339, rfc3339

#: A wait forgives polls that are I(refused) (401, 403, 404, TLS …) for this long, in seconds: a gateway that restarts
#: says such things. Polls that are merely lost (connection, 429, 5xx) are forgiven until the deadline.
REFUSAL_PATIENCE = 90.0
#: Looks at a run that is over but shows no exit code yet.
SETTLING_LOOKS = 3
#: "No value" for an ETL that has run is believed when it lasts this long, in seconds.
NONE_PATIENCE = 30.0


class Watcher:
    """Looks at the ETL of one C(Progress).

    :param now: seconds on the engine's clock.
    """

    def __init__(self, api: HelixApi, policy: Policy, progress: Progress, now: Callable[[], float]) -> None:
        self._api = api
        self._policy = policy
        self.progress = progress
        self._now = now

    # -- looks ----------------------------------------------------------------------------------------------------

    def look(self) -> EtlStatus:
        """The state, with the retries that a read deserves.

        :raises HelixError: it cannot be had.
        """
        status = self._api.status(self.progress.etl_id)
        self.observe(status)
        return status

    def poll(self) -> EtlStatus | None:
        """One look; None where it was lost and is forgiven.

        :raises HelixError: looking makes no sense any more.
        """
        p = self.progress
        p.polls += 1
        try:
            status = self._api.status(p.etl_id, retries=0)
        except AuthenticationError:
            raise
        except HelixError as error:
            now = self._now()
            p.lost_polls += 1
            p.losses += 1
            p.last_loss = error.message
            p.lost_since = now if p.lost_since is None else p.lost_since
            if not error.transient and now - p.lost_since >= REFUSAL_PATIENCE:
                raise
            pause = min(backoff(p.losses), self._policy.poll_interval)
            p.due = now + max(pause, error.retry_after or 0.0)
            return None
        p.losses, p.lost_since, p.due = 0, None, 0.0
        self.observe(status)
        return status

    def at_rest_now(self) -> bool:
        """One more look, which may fail: whether what was to stop has ended."""
        try:
            status = self._api.status(self.progress.etl_id, retries=0)
        except HelixError:
            return False
        self.observe(status)
        # WAITING is rest for what was executing; a schedule that kill was to cancel is still there.
        was_waiting = self.progress.before is not None and self.progress.before.state == "WAITING"
        return status.at_rest and status.state != NEVER and not (was_waiting and status.state == "WAITING")

    def observe(self, status: EtlStatus) -> None:
        """Note what was seen."""
        p = self.progress
        if status != p.seen:
            if p.last is None or status.state != p.last[0]:
                p.changed_at = self._now()
            p.timeline.append(
                {"at": rfc3339(self.server_now()), "status": status.public()["status"], "exit_code": status.exit_code}
            )
        p.last = list(status)
        p.times_none = p.times_none + 1 if status.state == NEVER else 0
        if status.executing:
            p.seen_executing = True
        if not status.known:
            if p.before is None or status.state != p.before.state:
                p.seen_unknown = True
            warning = (
                f"{p.label} is in the state {status.state}, which this collection does not know;"
                " it counts as still active."
            )
            if p.phase != "plan" and warning not in p.warnings:
                p.warnings.append(warning)

    # -- judgements -----------------------------------------------------------------------------------------------

    def happened(self, before: EtlStatus, status: EtlStatus) -> bool:
        """Whether an execution has begun between two looks."""
        return (status.executing and not before.executing) or status.executed_since(before)

    def judge(self, status: EtlStatus) -> Verdict | None:
        """What is seen now, as an end; None where it is none yet."""
        p, policy = self.progress, self._policy
        before = p.before or status
        if policy.action == "wait":
            return planning.judge_wait(
                policy.until,
                before,
                status,
                seen_executing=p.seen_executing,
                fail_on_warning=policy.fail_on_warning,
                times_none=self.times_none(),
            )
        if policy.action == "schedule":
            verdict = planning.judge_schedule(before, status)
        elif policy.action in ("stop", "kill"):
            verdict = planning.judge_idle(before, status, policy.action, self.times_none())
        else:
            verdict = planning.judge_run(
                before,
                status,
                seen_executing=p.seen_executing,
                # The answer -1 means a service ETL, but a state that only batch ETLs have is the better witness.
                service=p.request_id == -1 and before.kind != "batch",
                fail_on_warning=policy.fail_on_warning,
            )
        if not policy.wait and (verdict or (policy.action == "run" and self.happened(before, status))):
            return Verdict("accepted", "adopted")
        return verdict

    def is_unsettled(self, verdict: Verdict, status: EtlStatus) -> bool:
        """Whether exit code and time may still be those of the run before: a server may write them one by one."""
        if self.progress.settling >= SETTLING_LOOKS:
            return False
        if not status.exit_code:
            return verdict.outcome == "failed"
        before = self.progress.before
        old = before is not None and status.exit_code == before.exit_code and not status.executed_since(before)
        return old and verdict.outcome in ("succeeded", "warning", "failed")

    def too_close(self) -> bool:
        """Whether the last execution is of this very second: times are whole seconds, and the next run would not show.

        Asked once only: a clock that stands still must not stop us.
        """
        p = self.progress
        moment, now = parse_rfc3339(p.before.last_exec_ts if p.before else None), self.server_now()
        if p.spaced or moment is None or not -1.0 <= now - moment < 1.0:
            return False
        p.spaced = True
        return True

    def times_none(self) -> int:
        """How often in a row the server gave no value, where that can be believed.

        No value means that it never ran. Of what ran, or was running, it is an answer that lost its body, unless it
        lasts.
        """
        p = self.progress
        never_ran = p.before is not None and not p.before.executing and not p.before.last_exec_ts
        lasts = self._now() - p.changed_at >= NONE_PATIENCE
        return p.times_none if never_ran or lasts else min(p.times_none, 1)

    # -- time -----------------------------------------------------------------------------------------------------

    def server_now(self) -> float:
        """Seconds since 1970 by the server's clock, or by ours if the server never told the time."""
        transport = self._api.transport
        server = transport.server_time()
        return transport.clock.wall() if server is None else server
