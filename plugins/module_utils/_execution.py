# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One ETL from the first poll to the verdict: read, decide, send once, follow, judge.

Private to this collection. One thread per ETL, and sequential code in it. C(api) provides clock, sleep, and transport;
C(_plan) makes the decisions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

from . import _plan as planning
from . import _report as report
from ._errors import DeadlineError, HelixError, RequestRefusedError, internal
from ._http import backoff
from ._observer import SETTLING, Observer, Task
from ._plan import Decision, Verdict
from ._report import Record, Request
from ._run_files import Note
from ._status import NEVER, EtlStatus, rfc3339

#: A stop or kill whose response was lost is repeated after this time if the ETL still executes.
REPEAT_AFTER = 5.0


def run_all(task: Task, records: Sequence[Record], max_parallel: int) -> None:
    """Bring each ETL to its end, at most C(max_parallel) at a time. No failure hides another result."""
    task.records = list(records)
    executions = [Execution(task, record) for record in records]
    try:
        task.api.tokens.current(deadline=task.deadline)  # once, not in parallel, because portals lock keys
    except HelixError as error:
        for execution in executions:
            execution.fail_before(error)
        return
    todo = deque(executions)

    def work() -> None:
        while True:
            try:
                execution = todo.popleft()
            except IndexError:
                return
            execution.run()

    width = min(max_parallel, len(executions))
    if width < 2:
        work()
        return
    # Daemon threads: those of a ThreadPoolExecutor are joined at exit, and Ctrl-C would wait for the ETLs.
    threads = [Thread(target=work, name=f"etl-{number}", daemon=True) for number in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Execution:
    """One ETL from the first poll to the verdict. C(record) holds the findings."""

    def __init__(self, task: Task, record: Record) -> None:
        self.record = record
        self._task = task
        self._api = task.api
        self._policy = task.policy
        self._clock = task.clock
        self._watch = Observer(task, record)
        self._spaced = False
        self._no_escalation = False

    def run(self) -> None:
        """Follow the ETL to its end. Raises no exception."""
        r = self.record
        if why := self._task.refusal():
            self._fail(report.not_tried(r, why))
            return
        r.began = self._watch.changed_at = self._clock.now()
        r.limit = self._policy.wait_timeout
        if r.began + r.limit > self._task.ends_at:
            r.limit, r.limited_by = self._task.ends_at - r.began, "total_timeout"
        renewals = self._api.tokens.renewals
        self._watch.tell("checking")
        try:
            (self._wait if self._policy.action == "wait" else self._act)()
        except HelixError as error:
            self._give_up(error)
        except Exception as error:  # noqa: BLE001 - the other ETLs, and what was started, must not be lost
            self._give_up(internal(error, self._api.transport.redactor.text))
        r.token_renewals = self._api.tokens.renewals - renewals

    # -- decide -------------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        watch = self._watch
        status = watch.look()
        while self._carry_out(self._decide(status), status):
            # Decide again: the run in the way has ended, or the request was postponed (429, no connection).
            watch.sleep_until(min(watch.due, watch.deadline))
            if self._clock.now() >= watch.deadline:
                self._fail(report.still_busy(self._named(), self._policy))
                return
            status = watch.look()

    def _decide(self, status: EtlStatus) -> Decision:
        r = self.record
        r.before = self._watch.baseline = status
        self._watch.seen_executing, self._watch.seen_unknown = status.executing, False
        self._watch.starts, self._watch.seen_dated = 0, status.executing
        # A run that was stopped for this one does not count as a recent success.
        wanted = self._policy._replace(max_age=None) if r.cleared else self._policy
        decision = planning.plan(wanted, status, self._task.server_now())
        r.reason = decision.reason
        if decision.warning:
            r.warn(decision.warning)
        return decision

    def _carry_out(self, decision: Decision, status: EtlStatus) -> bool:
        """Carry out the decision. False: the ETL is done. True: decide again."""
        policy = self._policy
        if decision.do == planning.NOTHING:
            return self._done(decision.outcome)
        if decision.do == planning.FAIL:
            return self._fail(report.already_running(self._named()), "failed")
        if decision.do == planning.ATTACH:
            self._attach(decision.reason)
            if policy.check_mode or not policy.wait:
                return self._done("nothing_to_do")
            self._watch.tell("running")
            return self._follow()
        if policy.check_mode:
            return self._would_send()
        if decision.do == planning.QUEUE:
            self._watch.tell("waiting")
            return self._until_idle(self._watch.deadline) or self._fail(report.still_busy(self._named(), policy))
        if decision.do == planning.RESTART:
            return self._make_room()
        if policy.action in ("stop", "kill"):
            return self._end()
        return self._launch(status)

    def _attach(self, reason: str, is_same_task: bool = False) -> None:
        """Follow a run that was requested before, with other properties unless the same task requested it."""
        self.record.attached, self.record.reason = True, reason
        if self._policy.properties and self._policy.if_running == "attach" and not is_same_task:
            self.record.warn(
                f"{self._named().label}: this task follows another run, so its own run properties are not used. With"
                " if_running set to queue, they are."
            )

    def _would_send(self) -> bool:
        """Check mode."""
        r, policy = self.record, self._policy
        note = self._task.notes.read(r.etl_id) if policy.action in ("run", "schedule") else None
        if note and note.holds(policy, self._clock.wall()):
            self._attach(note.reason(), note.is_same_task)
            return self._done("nothing_to_do")
        r.changed = True
        return self._done(f"would_{policy.action}")

    def _make_room(self) -> bool:
        """C(if_running: restart): stop the run in progress."""
        r = self.record
        if not self._send("stop", ending=True):
            return True
        self._watch.tell("stopping")
        if not self._until_idle(self._watch.deadline, stopping=True):
            return self._fail(report.still_busy(self._named(), self._policy))
        r.cleared = True
        r.changed = r.changed or bool(r.ending and r.ending.ambiguous)
        r.ending = None
        return True

    def _end(self) -> bool:
        """Stop or kill."""
        r, policy = self.record, self._policy
        if not self._send(policy.action):
            return True
        if policy.wait or (r.request and r.request.ambiguous):
            self._watch.tell("stopping")
            return self._follow()
        if r.request and r.request.accepted:
            return self._done("accepted")
        r.reason = "its run had just ended"
        return self._done("nothing_to_do")

    def _launch(self, status: EtlStatus) -> bool:
        """Run or schedule, unless another host or task has just requested it."""
        r, policy = self.record, self._policy
        if policy.action == "run" and self._is_too_close(status):
            self._watch.due = self._clock.now() + 1.0
            return True
        self._watch.check_over()
        notes, is_sent = self._task.notes, False
        with notes.alone(r.etl_id):
            joined = notes.join(r.etl_id, policy, self._clock.wall())
            if joined is None:
                # Before the request is sent: this process may not come to its end.
                note = notes.make(policy.action, status, self._task.server_time(), self._clock.wall())
                notes.write(r.etl_id, note)
                try:
                    is_sent = self._send(policy.action)
                finally:
                    request_id = r.request.request_id if r.request else None
                    notes.write(r.etl_id, note._replace(request_id=request_id) if is_sent else None)
        if joined:
            return self._join(joined)
        if not is_sent:
            return True
        ambiguous = bool(r.request and r.request.ambiguous)
        if not policy.wait and not ambiguous:
            return self._done("accepted")
        self._watch.tell("unclear" if ambiguous else "requested")
        return self._follow()

    def _join(self, note: Note) -> bool:
        """Follow the run that another host or task has requested."""
        r, watch = self.record, self._watch
        self._attach(note.reason(), note.is_same_task)
        r.joined = f"{r.reason[0].upper()}{r.reason[1:]}."
        if self._policy.if_running == "fail":
            return self._fail(report.already_running(self._named()), "failed")
        r.before = watch.baseline = note.before
        watch.since, watch.seen_executing = note.server_time, note.before.executing
        if not self._policy.wait:
            return self._done("nothing_to_do")
        watch.tell("requested")
        return self._follow()

    def _wait(self) -> None:
        """C(etl_wait): wait, from the given baseline or from the current state."""
        r, policy = self.record, self._policy
        given, self._watch.since = r.before, r.request.server_time if r.request else None
        r.request = None
        self._watch.baseline = given
        self._watch.seen_executing = bool(given and given.executing)
        status = self._watch.look()
        r.before = self._watch.baseline = given or status
        r.attached = status.executing
        verdict = self._watch.judge(status)
        if verdict and (policy.check_mode or self._watch.is_settled(verdict, status)):
            self._settle(verdict)
        elif policy.until == "finished" and given is None and not status.executing:
            self._settle_without_baseline(status)
        elif policy.check_mode:
            r.reason = f"it is {status}; check mode does not wait"
            self._done("nothing_to_do")
        else:
            self._follow()

    def _settle_without_baseline(self, status: EtlStatus) -> None:
        """Nothing is executing, and nothing tells whether a run was requested before."""
        r = self.record
        r.reason = f"nothing is executing ({status})"
        last = planning.judge_run(status, status, seen_executing=True, fail_on_warning=self._policy.fail_on_warning)
        if last and last.failed and (status.exit_code or status.state == "ABORTED"):
            self._settle(last._replace(evidence="state_reached"))
            return
        if not r.has_ended:
            r.warn(
                f"{r.label}: nothing is executing, and without baseline this proves nothing about a run that was just"
                " requested. Set baseline to the etls of the task that requested it."
            )
        self._done("nothing_to_do")

    # -- send ---------------------------------------------------------------------------------------------------------

    def _send(self, action: str, *, ending: bool = False) -> bool:
        """Send a request once. False: it was certainly not carried out and may be tried again after a new poll.

        :param ending: it ends a run because of another option, so it is not the request of the task's action.
        """
        r = self.record
        self._watch.check_over()
        now = self._clock.now()
        known = r.ending if ending else r.request
        request = known if known and known.action == action else Request(action, now, self._task.server_time())
        limit = self._watch.deadline + (self._policy.start_timeout if ending and now >= self._watch.deadline else 0.0)
        try:
            receipt = self._api.act(action, r.etl_id, self._policy.properties, deadline=limit)
        except HelixError as error:
            if not self._is_sent_after(error, request):
                return False
        else:
            request.accepted, request.ambiguous, r.changed = True, False, True
            request.request_id = receipt.task_execution_request_id
            request.request_status = receipt.request_status
        r.put_off = 0
        if request is known:
            request.times += 1
            request.sent_at = now
        elif ending:
            r.ending = request
        else:
            r.request, self._watch.since = request, request.server_time
            r.started_at = rfc3339(self._task.server_now())
        return True

    def _is_sent_after(self, error: HelixError, request: Request) -> bool:
        """Whether the request counts as sent although it failed. Raises if there is nothing to follow."""
        r = self.record
        if error.maybe_done:
            request.ambiguous, request.doubt = True, error.message
            request.request_status = getattr(error, "request_status", None)
            return True
        refused = isinstance(error, RequestRefusedError)
        if refused and request.action in ("stop", "kill") and self._watch.is_at_rest_now():
            r.warn(f"The {request.action} request for {r.label} was rejected, because the run had just ended.")
            request.request_status = getattr(error, "request_status", None)
            return True
        if error.transient and r.put_off < self._policy.retries:
            r.put_off += 1
            r.last_loss = error.message
            self._watch.due = self._clock.now() + backoff(r.put_off, error.retry_after)
            return False
        raise error

    def _push_stop(self, status: EtlStatus | None, request: Request | None) -> None:
        """Repeat a stop or kill whose response was lost; escalate a stop that has no effect."""
        r, policy = self.record, self._policy
        if status is None or request is None or not (status.executing or status.state == "WAITING"):
            return
        now = self._clock.now()
        kill_after = policy.kill_after if request.action == "stop" and status.executing else None
        try:
            if kill_after and now - request.sent_at >= kill_after and not self._no_escalation and not r.escalated:
                r.escalated = self._send("kill", ending=True)
            elif request.ambiguous and now - request.sent_at >= REPEAT_AFTER and request.times <= policy.retries:
                self._send(request.action, ending=request is r.ending)
        except HelixError as error:
            # The first request can still take effect.
            self._no_escalation = True
            r.warn(f"Another request to end {r.label} failed: {error.message}")

    # -- follow -------------------------------------------------------------------------------------------------------

    def _follow(self) -> bool:
        """Poll until there is a verdict. Always False: the ETL is done."""
        r, policy, watch = self.record, self._policy, self._watch
        watch.is_following = True
        began = self._clock.now()
        watch.pause(watch.deadline)
        while True:
            status = watch.poll()
            verdict = watch.judge(status) if status else None
            if status and verdict and watch.is_settled(verdict, status):
                return self._settle(verdict)
            if status and not verdict:
                watch.unsettle()
            starting, limit = watch.is_starting(), watch.deadline
            if starting and (not r.losses or not policy.wait):
                limit = min(limit, began + policy.start_timeout)
            if self._clock.now() >= limit + (SETTLING if verdict else 0.0):
                return self._not_started() if starting else self._at_timeout()
            if policy.action in ("stop", "kill") and not verdict:
                self._push_stop(status, r.ending or r.request)
            watch.pause(limit)

    def _until_idle(self, limit: float, *, stopping: bool = False) -> bool:
        """Wait until the run in progress has ended. False: the limit was reached first."""
        watch = self._watch
        watch.is_following = True
        while True:
            watch.pause(limit)
            status = watch.poll()
            idle = status and status.at_rest and (status.state != NEVER or (stopping and watch.trusted_nones() > 1))
            if status and not idle:
                watch.unsettle()
            if status and idle and watch.is_settled(Verdict("stopped", "state_reached"), status):
                watch.is_following = False
                watch.unsettle()
                return True
            if self._clock.now() >= limit + (SETTLING if idle else 0.0):
                return False
            if stopping and not idle:
                self._push_stop(status, self.record.ending)

    def _not_started(self) -> bool:
        return self._fail(report.not_started(self._named(), self._policy, self._clock.now()))

    def _at_timeout(self) -> bool:
        """C(wait_timeout) expired: leave the run, or end it (C(on_timeout))."""
        policy, over = self._policy, False
        became = report.goes_on(self.record) if policy.action == "run" else ""
        if policy.action == "run" and policy.on_timeout != "leave":
            became, over = self._end_run(became)
        return self._fail(report.timed_out(self._named(), policy, became, over))

    def _end_run(self, became: str) -> tuple[str, bool]:
        """End the run that took too long. Returns a sentence about the result, and whether the run is over."""
        r, action, watch, began = self.record, self._policy.on_timeout, self._watch, self._clock.now()
        limit = watch.deadline + self._policy.start_timeout
        try:
            while not self._send(action, ending=True):
                watch.sleep_until(min(watch.due, limit))
                if self._clock.now() >= limit:
                    raise HelixError(r.last_loss)
            watch.tell("stopping")
            if self._until_idle(limit, stopping=True):
                ours = r.ending and (r.ending.accepted or r.ending.ambiguous)
                done = f"It was then {report.PAST[r.ending.action]}" if r.ending and ours else "It had just ended"
                return f"{done}: {r.seen}.", True
        except HelixError as error:
            if r.ending:
                raise
            return f"{became} The {action} request failed: {error.message}", False
        waited = planning.describe_seconds(self._clock.now() - began)
        seen = "its end could not be observed" if r.losses else "it had not ended"
        return f"The {action} request was sent, but {seen} {waited} later.", False

    def _is_too_close(self, status: EtlStatus) -> bool:
        """Whether the last run has the current second as its time, so that the next run could have the same one."""
        moment, now = status.moment, self._task.server_now()
        if self._spaced or moment is None or not -1.0 <= now - moment < 1.0:
            return False
        self._spaced = True
        return True

    # -- end ----------------------------------------------------------------------------------------------------------

    def _done(self, outcome: str, evidence: str | None = None) -> bool:
        """End with this outcome. Always False: nothing is left to decide."""
        r = self.record
        r.outcome, r.evidence, r.ended = outcome, evidence, self._clock.now()
        r.began = r.ended if r.began is None else r.began
        for request in (r.request, r.ending):
            if request and request.ambiguous and self._watch.had_effect(request):
                r.changed = True
                if request is r.request and request.action in ("run", "schedule"):
                    r.evidence = "adopted"
        if not self._task.over():
            if outcome in ("stopped", "service_off"):
                self._task.notes.clear(r.etl_id)
            elif self._watch.seen_executing or self._watch.has_moved():
                self._task.notes.begun(r.etl_id)
        self._watch.tell("done")
        return False

    def _settle(self, verdict: Verdict) -> bool:
        r = self.record
        if self._watch.is_contradicted():
            return self._fail(report.contradicted(self._named()))
        if verdict.failed:
            r.problem = report.bad_end(self._named(), verdict.outcome)
        elif verdict.outcome == "warning":
            r.warn(f"{self._named().label} ended with exit WARNING. {report.SEE_LOG}")
        return self._done(verdict.outcome, verdict.evidence)

    def _fail(self, problem: HelixError, outcome: str = "") -> bool:
        """End with this problem. Its kind is the outcome, unless another one is given."""
        self.record.problem = problem
        return self._done(outcome or problem.kind, self.record.evidence)

    def fail_before(self, error: HelixError) -> None:
        """An error before anything was sent for this ETL."""
        self._fail(report.refused(self._named(), error), "timed_out" if error.kind == "timed_out" else "failed")

    def _give_up(self, error: HelixError) -> None:
        """An error that ends this ETL's action. What was started is named."""
        r = self.record
        if isinstance(error, DeadlineError):
            error = DeadlineError(error.what, r.limited_by)
        if r.attached or any(q and (q.accepted or q.ambiguous) for q in (r.request, r.ending)):
            self._fail(report.lost_sight(self._named(), error), "unconfirmed")
            return
        if isinstance(error, RequestRefusedError):
            r.request = Request(self._policy.action, self._clock.now(), request_status=error.request_status)
            self._watch.is_at_rest_now()
        self.fail_before(error)

    def _named(self) -> Record:
        """The record with the name of the ETL, if it can be read: a failure should name the ETL."""
        r = self.record
        if r.etl_name is None and r.seen is not None and not r.losses:
            with suppress(HelixError):  # without a name, messages show the id
                r.etl_name = {etl.etl_id: etl.name for etl in self._api.list_etls(retries=0)}.get(r.etl_id)
        return r
