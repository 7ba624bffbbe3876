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
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, RequestRefusedError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Decision, Policy, Verdict
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._sending import Sender
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, EtlStatus
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._watching import Watcher


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
        self._watcher = Watcher(api, policy, progress, now)
        self._sender = Sender(api, policy, progress, now, self._watcher)

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
        earlier = p.before
        status = self._watcher.look()
        if status.state == NEVER and p.times_none < 2:
            # Also an answer that lost its body looks like this: one alone is not believed.
            p.due = self._now()
            return
        if policy.action == "wait":
            self._watch(status, earlier)
            return
        unsent = p.put_off and policy.action == "run" and earlier is not None and not earlier.executing
        if unsent and earlier and self._watcher.happened(earlier, status):
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
        decision = planning.plan(wanted, status, self._watcher.server_now())
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
            if self._sender.send("stop"):
                self._enter("clear")
        else:
            self._launch()

    def _launch(self) -> None:
        p, policy = self.progress, self._policy
        if policy.action == "run" and self._watcher.too_close():
            p.due = self._now() + 1.0
        elif self._sender.send(policy.action):
            if policy.wait or p.ambiguous:
                self._enter("follow")
            elif p.accepted:
                self._done("accepted")
            else:
                p.reason = "its execution had just ended"
                self._done("nothing_to_do")

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
        verdict = self._watcher.judge(status)
        if verdict and (policy.check_mode or not self._watcher.is_unsettled(verdict, status)):
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
        status = self._watcher.poll()
        if status is not None and status.at_rest and status.state != NEVER:
            p.phase, p.due = "plan", self._now()
        elif self._now() >= self._deadline():
            self._fail("timed_out", report.still_busy(p, self._policy))
        else:
            self._next(self._deadline())

    def _clear(self) -> None:
        """Wait for the run that was stopped to be gone, then plan anew."""
        p = self.progress
        status = self._watcher.poll()
        if status is not None and status.at_rest and (status.state != NEVER or self._watcher.times_none() > 1):
            self._sender.forget()
            p.phase, p.due = "plan", self._now()
        elif self._now() >= self._deadline():
            self._fail("timed_out", report.still_busy(p, self._policy))
        else:
            self._sender.push_stop(status)
            self._next(self._deadline())

    def _follow(self) -> None:
        p, policy = self.progress, self._policy
        status = self._watcher.poll()
        if status is not None:
            verdict = self._watcher.judge(status)
            if verdict and self._watcher.is_unsettled(verdict, status):
                p.settling += 1
                p.due = self._now() + 1.0
                return
            if verdict:
                self._settle(verdict)
                return
            # It goes on: what looked like the end came from a server that lags behind, and may come again.
            p.settling = 0
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
            self._sender.push_stop(status)
        self._next(deadline)

    def _abandon(self) -> None:
        """The run took too long and was told to stop: say what became of it."""
        p, policy = self.progress, self._policy
        status = self._watcher.poll()
        waited = self._now() - p.first_sent_at
        if status is not None and planning.judge_idle(EtlStatus("RUNNING"), status, "stop", self._watcher.times_none()):
            ended = "had just ended" if p.too_late else f"was {report.PAST[p.sent or 'stop']}"
            self._overtaken(f"It {ended} then: {status}.")
        elif waited >= policy.start_timeout:
            seen = "what became of it was not seen" if p.losses else "it had not ended"
            self._overtaken(
                f"The {p.sent} request was sent then, but {planning.describe_seconds(waited)} later {seen}."
            )
        else:
            self._sender.push_stop(status)
            self._next(p.first_sent_at + policy.start_timeout)

    # -- observation ----------------------------------------------------------------------------------------------

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
                if self._sender.send(policy.on_timeout):
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
            self._watcher.at_rest_now()
        self._fail("failed", report.refused(p, error))
