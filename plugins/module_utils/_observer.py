# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe one ETL: polls, what was seen so far, and when an end is confirmed.

Private to this collection. It sends nothing. The rule for evidence: a newer run is later than the baseline's and not
earlier than the request by the server's clock; a time that cannot be read or lies in the far future proves nothing; a
response that is older than one already seen comes from a replica that lags behind and is dropped, for every action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _plan as planning
from ._api import HelixApi
from ._errors import AuthenticationError, HelixError
from ._http import backoff
from ._plan import Policy, Verdict
from ._report import Record, Request
from ._run_files import Notes
from ._status import NEVER, EtlStatus, rfc3339

#: Rejected polls (401, 403, 404, TLS) are ignored for this long; a restarting gateway responds like that.
REFUSAL_PATIENCE = 90.0
#: Pauses between the polls until "no value" is believed: a response that lost its body is the same.
NONE_PAUSES = (1.5, 3.5)
#: "No value" for an ETL that has run before is believed only if it lasts this long.
NONE_PATIENCE = 30.0
#: An end that may still be the previous state is believed only if it is seen again and again for this long:
#: exit code or time may follow a moment later ...
SETTLING = 3.0
#: ... no response has a time, so a replica that lags behind cannot be recognized ...
UNPROVEN = 10.0
#: ... or the time did not change, although this run should have changed it. The old state may be shown for
#: start_timeout, so such an end must last as long, and at least this long.
CONTRADICTED = 30.0
#: A server may label local time as UTC. A time further in the future than this is invalid.
MISLABELED = 86400.0
#: The clocks of a gateway and its servers may differ by this much.
SKEW = 2.0


@dataclass(eq=False, repr=False)
class Task:
    """What all ETLs of one task share.

    :param over: whether the task that this code belongs to has ended (timeout, interrupt): nothing is launched then.
    :param tell: called with a record after each change.
    :param ends_at: when total_timeout expires; ETLs whose turn comes later are not tried.
    """

    api: HelixApi
    policy: Policy
    notes: Notes = field(default_factory=lambda: Notes(None))
    over: Callable[[], bool] = lambda: False
    tell: Callable[[Record], None] = lambda record: None
    ends_at: float = float("inf")
    stop_on_failure: bool = False
    records: Sequence[Record] = ()

    def __post_init__(self) -> None:
        transport = self.api.transport
        self.clock = transport.clock
        #: Seconds since 1970 by the server's clock, if it is known; and the same, or by the clock of this machine.
        self.server_time, self.server_now = transport.server_time, transport.server_now
        #: No retry of a login that comes first waits longer.
        self.deadline = min(self.clock.now() + self.policy.wait_timeout, self.ends_at)

    @property
    def active(self) -> int:
        """How many ETLs are being followed, to limit the rate of their polls."""
        return sum(r.began is not None and not r.done for r in self.records)

    def refusal(self) -> str | None:
        """Why no other ETL may begin; None if one may."""
        if self.over():
            return "the task was ended"
        if self.clock.now() >= self.ends_at:
            return "total_timeout expired first"
        if self.stop_on_failure and any(r.failed for r in self.records):
            return "another ETL failed (stop_launching_on_failure)"
        return None


class Observer:
    """What is seen of one ETL. C(baseline) and C(since) are what ends are compared with."""

    def __init__(self, task: Task, record: Record) -> None:
        self.record = record
        self.baseline: EtlStatus | None = None
        #: The server's time of the request that is followed.
        self.since: float | None = None
        self.seen_executing = False
        self.seen_unknown = False
        #: Whether a response with a time showed it executing. Without one, a replica may lag behind.
        self.seen_dated = False
        #: How often the ETL was seen to begin; more than once means that replicas lag behind.
        self.starts = 0
        self.is_following = False
        #: No poll before this moment.
        self.due = 0.0
        self.changed_at = 0.0
        self._task = task
        self._api = task.api
        self._policy = task.policy
        self._clock = task.clock
        self._newest: float | None = None
        self._times_none = 0
        self._lost_since: float | None = None
        self._settling_since: float | None = None
        self._settling_on = ""
        self._sightings, self._needed = 0, 0.0

    @property
    def deadline(self) -> float:
        return (self.record.began or 0.0) + self.record.limit

    # -- polls --------------------------------------------------------------------------------------------------------

    def look(self) -> EtlStatus:
        """The state, with the retries of a read. "No value" is believed only after several polls.

        :raises HelixError: it cannot be read.
        """
        status = self._read()
        for pause in NONE_PAUSES:
            if status.state != NEVER:
                break
            self.sleep_until(min(self._clock.now() + pause, self.deadline))
            status = self._read()
        if status.moment is None and self._newest is not None:
            # A baseline without the time of the last run would make that run look new.
            return status._replace(last_exec_ts=rfc3339(self._newest))
        return status

    def _read(self) -> EtlStatus:
        r = self.record
        for attempt in range(self._policy.retries + 1):
            status = self._ask(deadline=self.deadline)
            if self.observe(status):
                r.losses = 0
                return status
            self.sleep_until(min(self._clock.now() + backoff(attempt), self.deadline))
        raise HelixError(
            f"{r.label}: the server repeatedly returned an older state than one it had already shown ({status}).",
            kind="unexpected_answer",
            remedy="A replica of the server is probably out of date. Run the task again later.",
        )

    def poll(self) -> EtlStatus | None:
        """One poll; None if it failed and may be ignored.

        :raises HelixError: further polls make no sense.
        """
        r = self.record
        r.polls += 1
        self.check_over()
        try:
            status = self._ask(retries=0)
        except AuthenticationError:
            raise
        except HelixError as error:
            self._lose(error.message, error.retry_after or 0.0)
            if not error.transient and self._clock.now() - (self._lost_since or 0.0) >= REFUSAL_PATIENCE:
                raise
            return None
        if not self.observe(status):
            self._lose(f"The server showed an older state than before ({status}).", 0.0)
            return None
        if r.losses >= 3:
            self.tell("running" if status.executing else r.phase)
        r.losses, self._lost_since, self.due = 0, None, 0.0
        return status

    def _ask(self, retries: int | None = None, deadline: float | None = None) -> EtlStatus:
        """The status, without a time that lies in the far future. A warning names that time."""
        r = self.record
        status = self._api.status(r.etl_id, retries, deadline)
        latest = max(self._task.server_now(), self._clock.wall()) + MISLABELED
        if status.moment is None or status.moment <= latest:
            return status
        r.warn(
            f"The server returned {status.last_exec_ts} as the last run of {r.label}. This time is in the future, so"
            " it was ignored."
        )
        return status._replace(last_exec_ts=None)

    def _lose(self, why: str, pause: float) -> None:
        r, now = self.record, self._clock.now()
        r.lost_polls += 1
        r.losses += 1
        r.last_loss = why
        self._lost_since = now if self._lost_since is None else self._lost_since
        self.due = now + max(min(backoff(r.losses), self._policy.poll_interval), pause)
        if r.losses == 3:
            self.tell(r.phase)

    def is_at_rest_now(self) -> bool:
        """One more poll, which may fail: whether the run that was to stop has ended."""
        r = self.record
        try:
            status = self._ask(retries=0)
        except HelixError:
            return False
        return self.observe(status) and planning.judge_idle(r.before or status, status, "kill") is not None

    def observe(self, status: EtlStatus) -> bool:
        """Record what was seen. False: it comes from a replica that lags behind and must not be used."""
        r, moment = self.record, status.moment
        if moment is not None and moment < self._task.server_now() + planning.CLOCK_TOLERANCE:
            if self._newest is not None and moment < self._newest:
                return False
            self._newest = moment
        is_new = status != r.seen
        if is_new:
            if r.seen is None or status.state != r.seen.state:
                self.changed_at = self._clock.now()
            at = rfc3339(self._task.server_now())
            r.timeline.append({"at": at, "status": status.public()["status"], "exit_code": status.exit_code})
        self.seen_dated = self.seen_dated or (status.executing and moment is not None)
        self.starts += status.executing and r.seen is not None and r.seen.at_rest
        r.seen = status
        self._times_none = self._times_none + 1 if status.state == NEVER else 0
        self.seen_executing = (self.seen_executing or status.executing) and not self._is_foreign(status)
        if not status.known:
            self._note_unknown(status)
        if is_new and self.is_following and not status.at_rest:
            self.tell("running" if status.executing and r.phase not in ("stopping", "waiting") else r.phase)
        return True

    def _is_foreign(self, status: EtlStatus) -> bool:
        """Whether the end that is shown is that of a run before our request, to which RUNNING may have belonged."""
        base = self.baseline
        if self.since is None or base is None or base.executing or not status.at_rest or status.moment is None:
            return False
        return (base.moment is None or status.moment > base.moment) and status.moment < self.since - SKEW

    def _note_unknown(self, status: EtlStatus) -> None:
        r = self.record
        self.seen_unknown = self.seen_unknown or r.before is None or status.state != r.before.state
        if self.is_following:
            r.warn(
                f"{r.label} is in the state {status.state}, which this collection does not know; it counts as active."
            )

    # -- judgment -----------------------------------------------------------------------------------------------------

    def judge(self, status: EtlStatus) -> Verdict | None:
        """The verdict on what is seen now; None if it is not an end."""
        policy, before, nones = self._policy, self.baseline or status, self.trusted_nones()
        facts: dict[str, Any] = {"seen_executing": self.seen_executing, "since": self.since}
        facts["fail_on_warning"] = policy.fail_on_warning
        if policy.action == "wait":
            return planning.judge_wait(policy.until, before, status, times_none=nones, **facts)
        if policy.action in ("stop", "kill"):
            verdict = planning.judge_idle(before, status, policy.action, nones)
        elif policy.action == "schedule":
            verdict = planning.judge_schedule(before, status, self.since)
        else:
            verdict = planning.judge_run(before, status, **facts)
        if policy.wait:
            return verdict
        # The response was lost, and the task does not wait: it is enough to see that the request had an effect.
        if policy.action != "run":
            return verdict and Verdict("accepted", "adopted")
        begun = status.executing or self.seen_executing or status.executed_since(before, self.since)
        return Verdict("accepted", "adopted") if begun else None

    def is_settled(self, verdict: Verdict, status: EtlStatus) -> bool:
        """Whether this end is certain, or has been seen for long enough."""
        now = self._clock.now()
        if self._settling_since is None or verdict.outcome != self._settling_on:
            # Replicas that disagree on how it ended prove nothing yet.
            self._settling_since, self._settling_on, self._sightings = now, verdict.outcome, 0
        self._sightings += 1
        patience = self._patience(verdict, status)
        if not self.has_moved():
            # A later response without a time does not cancel one whose time contradicts the end.
            patience = self._needed = max(self._needed, patience)
        # Polls can fail in between, so the number of polls counts, too.
        return now - self._settling_since >= patience and self._sightings >= min(patience, CONTRADICTED) / 2

    def is_contradicted(self) -> bool:
        """Whether replicas that lag behind were seen, and the time of the end is still the one from before."""
        is_doubtful = self.starts > 1 or not self.seen_dated
        return is_doubtful and self._needed >= CONTRADICTED and not self.has_moved()

    def unsettle(self) -> None:
        """Discard what looked like an end."""
        self._settling_since, self._sightings, self._needed = None, 0, 0.0

    def _patience(self, verdict: Verdict, status: EtlStatus) -> float:
        """Seconds for which an end must be seen, because it may still be the state from before."""
        before = self.baseline
        if before is None or not status.at_rest or verdict.outcome in ("scheduled", "accepted"):
            return 0.0
        late_exit = SETTLING if verdict.outcome == "failed" and not status.exit_code else 0.0
        if status.executed_since(before, self.since):
            return late_exit
        if before.executing:
            if self._policy.action in ("stop", "kill") and status.state == "ENDED" and status[1:] == before[1:]:
                # Exit code and time are still those from before: a replica that lags behind shows the same.
                return UNPROVEN
            # It was executing at the baseline; servers that show the start time do not change it at the end.
            ends_run = verdict.outcome in ("succeeded", "warning", "failed")
            return late_exit if ends_run and status.exit_code != before.exit_code else SETTLING
        if verdict.outcome in ("stopped", "service_off", "idle"):
            return SETTLING if self._policy.action in ("stop", "kill") else 0.0
        if status.moment is None or before.moment is None:
            return UNPROVEN
        return max(CONTRADICTED, self._policy.start_timeout)

    def has_moved(self) -> bool:
        """Whether the latest status proves an execution since the baseline."""
        seen = self.record.seen
        return seen is not None and self.baseline is not None and seen.executed_since(self.baseline, self.since)

    def had_effect(self, request: Request) -> bool:
        """Whether the effect of a request whose response was lost was seen."""
        r = self.record
        if request.action in ("stop", "kill"):
            before, nones = self.baseline or EtlStatus(NEVER), self.trusted_nones()
            return r.seen is not None and planning.judge_idle(before, r.seen, request.action, nones) is not None
        return self.seen_executing or self.has_moved() or r.outcome in ("scheduled", "service_on", "accepted")

    def trusted_nones(self) -> int:
        """How often in a row the server gave no value, if that can be believed."""
        before = self.record.before
        never_ran = before is not None and not before.executing and not before.last_exec_ts
        lasts = self._clock.now() - self.changed_at >= NONE_PATIENCE
        return self._times_none if never_ran or lasts else min(self._times_none, 1)

    def is_starting(self) -> bool:
        """Whether the effect of the request has yet to show, which C(start_timeout) limits."""
        policy, before = self._policy, self.record.before
        begun = self.seen_executing or self.seen_unknown
        if policy.action == "schedule":
            return True
        if policy.action in ("run", "wait"):
            return policy.until == "finished" and not begun
        return before is not None and before.state == "WAITING"

    # -- time ---------------------------------------------------------------------------------------------------------

    def pause(self, limit: float) -> None:
        """Sleep until the next poll: soon after a change, then less often, and once exactly at the limit."""
        r, now = self.record, self._clock.now()
        sent_at = max((q.sent_at for q in (r.request, r.ending) if q), default=0.0)
        quiet = now - max(self.changed_at, sent_at)
        usual = now + planning.next_poll(quiet, self._policy.poll_interval, self._task.active)
        if self._settling_since is not None:
            usual, limit = now + 1.0, float("inf")
        self.sleep_until(min(max(usual, self.due), max(limit, now + 0.1)))

    def sleep_until(self, moment: float) -> None:
        self._clock.sleep(moment - self._clock.now())

    def check_over(self) -> None:
        """:raises HelixError: the task was ended, so nothing more is to be sent."""
        if self._task.over():
            raise HelixError("The task was ended, so nothing more is sent.", kind="not_tried")

    def tell(self, phase: str) -> None:
        """Report a change to the user."""
        self.record.phase = phase
        self._task.tell(self.record)
