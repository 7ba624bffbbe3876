# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One ETL brought to its end: launch, confirm, follow, reconcile.

Private to this collection. A small state machine over plain data: each C(step()) makes one exchange or two and says
when it wants to be called again, so that many ETLs can be followed at once, and so that a wait can be cut into slices
(C(Progress) survives as JSON). It never sleeps by itself.

Phases::

    plan ──► follow ──► done          run, schedule, stop, kill
      │        │
      │        └──► abandon ──► done  on_timeout: stop, kill
      ├──► queue ──► plan             if_running: queue
      └──► clear ──► plan             if_running: restart
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _plan as planning
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _report as report
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import parse_rfc3339, rfc3339
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    AuthenticationError,
    HelixError,
    RequestRefusedError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Decision, Policy, Verdict
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, EtlStatus
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._transport import backoff

#: A wait forgives polls that are I(refused) (401, 403, 404, TLS …) for this long, in seconds: a gateway that restarts
#: says such things. Polls that are merely lost (connection, 429, 5xx) are forgiven until the deadline.
REFUSAL_PATIENCE = 90.0
#: A stop or kill request with an unknown fate is repeated after this many seconds if the ETL still executes.
REPEAT_AFTER = 5.0
#: Looks at a run that is over but shows no exit code yet.
SETTLING_LOOKS = 3
#: "No value" for an ETL that has run is believed when it lasts this long, in seconds.
NONE_PATIENCE = 30.0


class Execution:
    """Drives one C(Progress) by one C(Policy).

    :param now: seconds on the engine's clock.
    :param active: how many ETLs are being followed at the moment, so that together they poll gently.
    """

    def __init__(
        self,
        api: HelixApi,
        policy: Policy,
        progress: Progress,
        now: Callable[[], float],
        active: Callable[[], int] = lambda: 1,
    ) -> None:
        self._api = api
        self._policy = policy
        self.progress = progress
        self._now = now
        self._active = active

    def step(self) -> None:
        """Go one step on. Sets C(progress.due), or ends in the phase C(done). Raises nothing of ours."""
        p = self.progress
        if p.began is None:
            p.began = p.changed_at = self._now()
            p.renewals_before = self._api.tokens.renewals
        phases = {
            "plan": self._plan,
            "queue": self._queue,
            "clear": self._clear,
            "follow": self._follow,
            "abandon": self._abandon,
        }
        try:
            phases[p.phase]()
        except HelixError as error:
            self.give_up(error)
        p.token_renewals = self._api.tokens.renewals - p.renewals_before

    # -- phases ---------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        p, policy = self.progress, self._policy
        if policy.wait and self._now() >= self._deadline():
            self._fail("timed_out", report.still_busy(p, policy))
            return
        status = self._api.status(p.etl_id)
        earlier = p.before
        self._observe(status)
        if status.state == NEVER and p.times_none < 2:
            # Also an answer that lost its body looks like this: one alone is not believed.
            p.due = self._now()
            return
        if policy.action == "wait":
            self._watch(status, earlier)
            return
        unsent = p.put_off and policy.action == "run" and earlier is not None and not earlier.executing
        if unsent and earlier and self._happened(earlier, status):
            # Our request was put off (429, no connection), and yet the ETL moved: adopt it rather than run it twice.
            p.sent, p.ambiguous = "run", True
            p.sent_at = p.first_sent_at = self._now()
            self._enter("follow")
            return
        p.baseline = list(status)
        p.seen_executing = status.executing
        p.seen_unknown = False
        # What was stopped to make room is no success that could spare the run.
        wanted = replace(policy, max_age=None) if p.cleared else policy
        decision = planning.plan(wanted, status, self._server_now())
        p.reason = decision.reason
        if decision.warning and decision.warning not in p.warnings:
            p.warnings.append(decision.warning)
        self._carry_out(decision)

    def _carry_out(self, decision: Decision) -> None:
        p, policy = self.progress, self._policy
        if decision.do == planning.NOTHING:
            self._done(decision.outcome)
        elif decision.do == planning.FAIL:
            self._fail("failed", report.already_running(p))
        elif decision.do == planning.ATTACH:
            self._attach()
        elif policy.check_mode:
            p.changed = True
            self._done(f"would_{policy.action}")
        elif decision.do == planning.QUEUE:
            self._enter("queue")
        elif decision.do == planning.RESTART:
            if self._send("stop"):
                self._enter("clear")
        else:
            self._launch()

    def _launch(self) -> None:
        p, policy = self.progress, self._policy
        if policy.action == "run" and self._too_close():
            p.due = self._now() + 1.0
        elif self._send(policy.action):
            if policy.wait or p.ambiguous:
                self._enter("follow")
            elif p.accepted:
                self._done("accepted")
            else:
                p.reason = "its execution had just ended"
                self._done("nothing_to_do")

    def _too_close(self) -> bool:
        """Whether the last execution is of this very second: times are whole seconds, and the next run would not show.

        Asked once only: a clock that stands still must not stop us.
        """
        p = self.progress
        moment, now = parse_rfc3339(p.before.last_exec_ts if p.before else None), self._server_now()
        if p.spaced or moment is None or now is None or not -1.0 <= now - moment < 1.0:
            return False
        p.spaced = True
        return True

    def _attach(self) -> None:
        p, policy = self.progress, self._policy
        p.attached = True
        if policy.check_mode or not policy.wait:
            self._done("nothing_to_do")
        else:
            p.sent_at = self._now()
            self._enter("follow")

    def _watch(self, status: EtlStatus, baseline: EtlStatus | None) -> None:
        """C(etl_wait): from the baseline that was given, else from what is seen now."""
        p, policy = self.progress, self._policy
        p.baseline = list(baseline or status)
        p.attached = status.executing
        # What executed at the baseline is awaited too; where the time stamp is the start's, only this tells its end.
        p.seen_executing = p.seen_executing or bool(baseline and baseline.executing)
        verdict = self._judge(status)
        if verdict:
            self._settle(verdict)
        elif policy.until == "finished" and baseline is None and not status.executing:
            p.reason = f"nothing is executing ({status})"
            self._done("nothing_to_do")
        elif policy.check_mode:
            p.reason = f"it is {status}; in check mode nobody waits for what was not started"
            self._done("nothing_to_do")
        else:
            p.first_sent_at = p.sent_at = self._now()
            self._enter("follow")

    def _queue(self) -> None:
        """Wait for somebody else's run to end, then plan anew: it may have made ours needless (C(max_age))."""
        p = self.progress
        status = self._poll()
        if status is not None and status.at_rest and status.state != NEVER:
            p.phase, p.due = "plan", self._now()
        elif self._now() >= self._deadline():
            self._fail("timed_out", report.still_busy(p, self._policy))
        else:
            self._next(self._deadline())

    def _clear(self) -> None:
        """Wait for the run that was stopped to be gone, then plan anew."""
        p = self.progress
        status = self._poll()
        if status is not None and status.at_rest and (status.state != NEVER or self._times_none() > 1):
            self._forget_request()
            p.phase, p.due = "plan", self._now()
        elif self._now() >= self._deadline():
            self._fail("timed_out", report.still_busy(p, self._policy))
        else:
            self._push_stop(status)
            self._next(self._deadline())

    def _follow(self) -> None:
        p, policy = self.progress, self._policy
        status = self._poll()
        if status is not None:
            verdict = self._judge(status)
            if verdict and p.settling < SETTLING_LOOKS and self._is_unsettled(verdict, status):
                p.settling += 1
                p.due = self._now() + 1.0
                return
            if verdict:
                self._settle(verdict)
                return
        now, deadline = self._now(), self._deadline()
        waits_for_start = self._waits_for_start()
        if waits_for_start and (not p.losses or not policy.wait):
            # While looks are lost nobody can say that it did not start.
            deadline = min(deadline, p.first_sent_at + policy.start_timeout)
        if now >= deadline:
            if waits_for_start:
                outcome, problem = report.not_started(p, policy, now)
                self._fail(outcome, problem)
            else:
                self._timed_out()
            return
        if policy.action in ("stop", "kill"):
            self._push_stop(status)
        self._next(deadline)

    def _is_unsettled(self, verdict: Verdict, status: EtlStatus) -> bool:
        """Whether exit code and time may still be those of the run before: a server may write them one by one."""
        if not status.exit_code:
            return verdict.outcome == "failed"
        before = self.progress.before
        old = before is not None and (status.exit_code, status.last_exec_ts) == before[1:]
        return old and verdict.outcome in ("succeeded", "warning", "failed")

    def _abandon(self) -> None:
        """The run took too long and was told to stop: say what became of it."""
        p, policy = self.progress, self._policy
        status = self._poll()
        waited = self._now() - p.first_sent_at
        if status is not None and planning.judge_idle(EtlStatus("RUNNING"), status, "stop", self._times_none()):
            self._overtaken(f"It was {report.PAST[p.sent or 'stop']} then: {status}.")
        elif waited >= policy.start_timeout:
            seen = "what became of it was not seen" if p.losses else "it had not ended"
            self._overtaken(
                f"The {p.sent} request was sent then, but {planning.describe_seconds(waited)} later {seen}."
            )
        else:
            self._push_stop(status)
            self._next(p.first_sent_at + policy.start_timeout)

    # -- requests -------------------------------------------------------------------------------------------------

    def _send(self, action: str) -> bool:
        """Send a request once. False: it was certainly not executed and will be tried again after a new look.

        :raises HelixError: it was refused, or certainly not executed and not worth another try.
        """
        p = self.progress
        first = p.sent != action
        now = self._now()
        try:
            receipt = self._api.act(action, p.etl_id, self._policy.properties)
        except RequestRefusedError:
            if action in ("stop", "kill") and self._at_rest_now():
                p.warnings.append(
                    f"The {action} request for {p.label} was refused, because the execution had just ended."
                )
                p.sent, p.sent_at = action, now
                return True
            raise
        except HelixError as error:
            if not error.maybe_done:
                if error.transient and p.put_off < self._policy.retries:
                    p.put_off += 1
                    p.due = now + backoff(p.put_off, error.retry_after)
                    p.last_loss = error.message
                    return False
                raise
            p.ambiguous = True
            p.doubt = error.message
        else:
            p.accepted = p.changed = True
            p.ambiguous = False
            p.request_id = receipt.task_execution_request_id
            p.request_status = receipt.request_status
        p.put_off = 0
        p.sent, p.sent_at = action, now
        p.started_at = p.started_at or rfc3339(self._wall())
        if first:
            p.first_sent_at, p.sends = now, 0
        p.sends += 1
        return True

    def _push_stop(self, status: EtlStatus | None) -> None:
        """Repeat a stop or kill with an unknown fate, and escalate a stop that does not work."""
        p, policy = self.progress, self._policy
        if status is None or not (status.executing or status.state == "WAITING"):
            return
        now = self._now()
        kill_due = policy.kill_after is not None and now - p.first_sent_at >= policy.kill_after
        if p.sent == "stop" and kill_due and status.executing:
            p.escalated = True
            self._send("kill")
        elif p.ambiguous and now - p.sent_at >= REPEAT_AFTER and p.sends <= policy.retries:
            self._send(p.sent or policy.action)

    def _forget_request(self) -> None:
        """The stop of C(if_running: restart) is over; what follows is the run's own request."""
        p = self.progress
        p.cleared = True
        p.changed = p.changed or p.ambiguous
        p.sent, p.sends, p.put_off = None, 0, 0
        p.accepted = p.ambiguous = False
        p.request_id = p.request_status = p.started_at = None
        p.doubt = ""

    def _at_rest_now(self) -> bool:
        try:
            status = self._api.status(self.progress.etl_id, retries=0)
        except HelixError:
            return False
        self._observe(status)
        # WAITING is rest for what was executing; a schedule that kill was to cancel is still there.
        was_waiting = self.progress.before is not None and self.progress.before.state == "WAITING"
        return status.at_rest and status.state != NEVER and not (was_waiting and status.state == "WAITING")

    # -- observation ----------------------------------------------------------------------------------------------

    def _poll(self) -> EtlStatus | None:
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
        self._observe(status)
        return status

    def _observe(self, status: EtlStatus) -> None:
        p = self.progress
        if status != p.seen:
            if p.last is None or status.state != p.last[0]:
                p.changed_at = self._now()
            p.timeline.append(
                {"at": rfc3339(self._wall()), "status": status.public()["status"], "exit_code": status.exit_code}
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

    def _happened(self, before: EtlStatus, status: EtlStatus) -> bool:
        return (status.executing and not before.executing) or status.executed_since(before)

    def _judge(self, status: EtlStatus) -> Verdict | None:
        p, policy = self.progress, self._policy
        before = p.before or status
        if policy.action == "wait":
            return planning.judge_wait(
                policy.until,
                before,
                status,
                seen_executing=p.seen_executing,
                fail_on_warning=policy.fail_on_warning,
                times_none=self._times_none(),
            )
        if policy.action == "schedule":
            verdict = planning.judge_schedule(before, status)
        elif policy.action in ("stop", "kill"):
            verdict = planning.judge_idle(before, status, policy.action, self._times_none())
        else:
            verdict = planning.judge_run(
                before,
                status,
                seen_executing=p.seen_executing,
                # The answer -1 means a service ETL, but a state that only batch ETLs have is the better witness.
                service=p.request_id == -1 and before.kind != "batch",
                fail_on_warning=policy.fail_on_warning,
            )
        if not policy.wait and (verdict or (policy.action == "run" and self._happened(before, status))):
            return Verdict("accepted", "adopted")
        return verdict

    def _times_none(self) -> int:
        """How often in a row the server gave no value, where that can be believed.

        No value means that it never ran. Of what ran, or was running, it is an answer that lost its body, unless it
        lasts.
        """
        p = self.progress
        never_ran = p.before is not None and not p.before.executing and not p.before.last_exec_ts
        lasts = self._now() - p.changed_at >= NONE_PATIENCE
        return p.times_none if never_ran or lasts else min(p.times_none, 1)

    def _waits_for_start(self) -> bool:
        """Whether the effect of the request has yet to show, which C(start_timeout) limits."""
        p, policy = self.progress, self._policy
        if policy.action == "run":
            return not (p.attached or p.seen_executing or p.seen_unknown)
        if policy.action == "schedule":
            return True
        if policy.action == "wait":
            return policy.until == "finished" and not (p.seen_executing or p.seen_unknown)
        return p.before is not None and p.before.state == "WAITING"

    # -- time -----------------------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        return (self.progress.began or 0.0) + self._policy.wait_timeout

    def _next(self, deadline: float) -> None:
        """The time of the next look: soon after a change, then sparser, and once exactly at the deadline."""
        p = self.progress
        now = self._now()
        usual = now + planning.next_poll(now - max(p.changed_at, p.sent_at), self._policy.poll_interval, self._active())
        p.due = min(max(usual, p.due), max(deadline, now + 0.1))

    def _enter(self, phase: str) -> None:
        self.progress.phase = phase
        self._next(self._deadline())

    def _wall(self) -> float:
        server = self._server_now()
        return self._api.transport.clock.wall() if server is None else server

    def _server_now(self) -> float | None:
        transport = self._api.transport
        server = transport.server_time()
        return transport.clock.wall() if server is None else server

    # -- ends -----------------------------------------------------------------------------------------------------

    def _done(self, outcome: str, evidence: str | None = None, failed: bool = False) -> None:
        p = self.progress
        p.phase, p.outcome, p.evidence, p.failed = "done", outcome, evidence, failed
        p.ended = self._now()
        if p.kept:
            p.accepted, p.ambiguous, p.request_id, p.request_status, p.started_at = p.kept

    def _fail(self, outcome: str, problem: HelixError) -> None:
        p = self.progress
        p.reason, p.remedy, p.error = problem.message, problem.remedy, problem.facts()
        self._done(outcome, p.evidence, failed=True)

    def _settle(self, verdict: Verdict) -> None:
        p = self.progress
        evidence = verdict.evidence
        if p.ambiguous:
            # The answer to our request was lost, but what it asked for was seen to happen.
            p.changed = True
            if self._policy.action in ("run", "schedule"):
                evidence = "adopted"
        if verdict.failed:
            problem = report.bad_end(p, verdict.outcome)
            p.reason, p.remedy, p.error = problem.message, problem.remedy, problem.facts()
        self._done(verdict.outcome, evidence, verdict.failed)

    def _timed_out(self) -> None:
        p, policy = self.progress, self._policy
        became = "" if policy.action != "run" else "It may go on." if p.losses else "It goes on."
        if policy.action == "run" and policy.on_timeout != "leave":
            # The result speaks of the run's request, not of the one that ends it.
            p.kept = p.kept or [p.accepted, p.ambiguous, p.request_id, p.request_status, p.started_at]
            try:
                if self._send(policy.on_timeout):
                    self._enter("abandon")
                return
            except HelixError as error:
                became = f"{became[:-1]}, for it could not be told to {policy.on_timeout}: {error.message}"
        self._overtaken(became)

    def _overtaken(self, became: str) -> None:
        problem = report.timed_out(self.progress, self._policy, became)
        self._fail(problem.kind, problem)

    def give_up(self, error: HelixError) -> None:
        """An error that ends this ETL's action. What was started is named."""
        p = self.progress
        if p.phase != "plan" and (p.accepted or p.ambiguous or p.attached):
            self._fail("unconfirmed", report.lost_sight(p, error))
            return
        if isinstance(error, RequestRefusedError):
            p.sent = self._policy.action
            p.request_status = error.request_status
            self._at_rest_now()
        self._fail("failed", report.refused(p, error))
