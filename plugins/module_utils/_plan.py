# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions, as pure functions: what to do, and whether it is over.

Private to this collection. C(plan) is idempotence: (action, state, policy) -> request or no request, and why.
C(judge_run), C(judge_schedule), and C(judge_idle) decide from one status after the request whether it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ._errors import OptionError
from ._status import NEVER, OVER, EtlStatus, parse_rfc3339

ACTIONS = ("run", "schedule", "stop", "kill")
IF_RUNNING = ("attach", "fail", "queue", "restart")
ON_TIMEOUT = ("leave", "stop", "kill")
UNTIL = ("finished", "executing", "idle")

#: The steps that a plan can contain.
SEND, NOTHING, ATTACH, FAIL, QUEUE, RESTART = "send", "nothing", "attach", "fail", "queue", "restart"

_ONLY_RUN = "it requires action: run"
_CARRIERS = "it requires action: run or action: schedule"
_ESCALATES = "it requires action: stop, if_running: restart, or on_timeout: stop"
_WAITS = "it requires wait: true"

#: The last run can be this far in the future (seconds); beyond that, the clocks are wrong.
CLOCK_TOLERANCE = 300.0


class Policy(NamedTuple):
    """The options of C(etl_action) and C(etl_wait) that decide, all times in seconds.

    C(etl_wait) uses the action C(wait), which sends nothing, and C(until).
    """

    action: str
    wait: bool = True
    wait_timeout: float = 3600.0
    start_timeout: float = 300.0
    poll_interval: float = 10.0
    if_running: str = "attach"
    max_age: float | None = None
    fail_on_warning: bool = False
    on_timeout: str = "leave"
    kill_after: float | None = None
    check_mode: bool = False
    retries: int = 3
    properties: Mapping[str, str] = {}
    until: str = "finished"

    def check(self) -> None:
        """Reject invalid combinations.

        :raises OptionError: with the reason, before any request is sent.
        """
        beside, run, alone = f"action: {self.action}", self.action == "run", not self.wait
        follows = self.if_running in ("queue", "restart")
        escalates = self.action == "stop" or self.if_running == "restart" or self.on_timeout == "stop"
        # The first that applies: an option, what it cannot be combined with, and why.
        rules: tuple[tuple[object, str, str, str], ...] = (
            (self.if_running != "attach" and not run, "if_running", beside, _ONLY_RUN),
            (self.max_age is not None and not run, "max_age", beside, _ONLY_RUN),
            (self.on_timeout != "leave" and not run, "on_timeout", beside, _ONLY_RUN),
            (self.properties and self.action not in ("run", "schedule"), "run_execution_properties", beside, _CARRIERS),
            (self.kill_after is not None and not escalates, "kill_after", beside, _ESCALATES),
            (alone and follows, f"if_running: {self.if_running}", "wait: false", _WAITS),
            (alone and self.on_timeout != "leave", f"on_timeout: {self.on_timeout}", "wait: false", _WAITS),
            (alone and self.kill_after is not None, "kill_after", "wait: false", _WAITS),
            (alone and self.fail_on_warning, "fail_on_warning: true", "wait: false", _WAITS),
        )
        for applies, option, other, reason in rules:
            if applies:
                message = f"{option} cannot be used with {other}: {reason}."
                raise OptionError(message, remedy="Remove one of the two.")
        if self.kill_after is not None and self.wait and self.kill_after >= self.wait_timeout:
            raise OptionError(
                f"kill_after ({self.kill_after:g} s) must be less than wait_timeout ({self.wait_timeout:g} s).",
                remedy="Lower kill_after, or increase wait_timeout.",
            )


class Decision(NamedTuple):
    """What to do about one ETL, and why.

    C(outcome) is that of the result if nothing is sent.
    """

    do: str
    reason: str
    outcome: str = "nothing_to_do"
    warning: str | None = None


def plan(policy: Policy, status: EtlStatus, server_now: float | None = None) -> Decision:
    """Whether a request is needed in this state.

    :param server_now: seconds since 1970 by the server's clock, for C(max_age).
    """
    action, state = policy.action, status.state
    if not status.known:
        unknown = f"The server reported the state {state}, which this collection does not know"
        return Decision(SEND, "its state is not known", warning=f"{unknown}; the {action} request is still sent.")
    if action == "run":
        return _plan_run(policy, status, server_now)
    if action == "schedule":
        if state == "WAITING":
            return Decision(NOTHING, "it is scheduled already")
        if state == "RUNNING":
            return Decision(NOTHING, "it is running; whether it is scheduled again is shown only after its end")
        if state == "SERVICE_ON":
            return Decision(NOTHING, "the service is on")
        return Decision(SEND, "it is not scheduled")
    if status.executing:
        return Decision(SEND, "it is executing")
    if state == "WAITING":
        if action == "kill":
            return Decision(SEND, "it is scheduled; kill cancels that")
        return Decision(NOTHING, "nothing is executing; it is scheduled, and kill would cancel the schedule")
    return Decision(NOTHING, "nothing is executing")


def _plan_run(policy: Policy, status: EtlStatus, server_now: float | None) -> Decision:
    if status.state == "SERVICE_ON":
        return Decision(NOTHING, "the service is on")
    if status.state == "RUNNING":
        reasons = {
            "attach": (ATTACH, "it is running already"),
            "fail": (FAIL, "it is running already, and if_running is fail"),
            "queue": (QUEUE, "it is running; the new run starts after this one has ended"),
            "restart": (RESTART, "it is running; that run is stopped first"),
        }
        return Decision(*reasons[policy.if_running])
    if policy.max_age is not None and status.state in OVER:
        age = last_success_age(status, policy.fail_on_warning, server_now)
        if age is not None and age <= policy.max_age:
            return Decision(
                NOTHING,
                f"the last run ({status.last_exec_ts}, exit {status.exit_code}) is {describe_seconds(age)} old,"
                f" which is within max_age ({describe_seconds(policy.max_age)})",
                outcome="fresh",
            )
    return Decision(SEND, "it has never run" if status.state == NEVER else "nothing is executing")


def last_success_age(status: EtlStatus, fail_on_warning: bool, server_now: float | None) -> float | None:
    """Seconds since the last run, if it was successful; None if it was not, or if that is not known."""
    moment = parse_rfc3339(status.last_exec_ts)
    if moment is None or server_now is None or status.state == "ABORTED":
        return None
    if status.exit_code != "OK" and not (status.exit_code == "WARNING" and not fail_on_warning):
        return None
    age = server_now - moment
    return None if age < -CLOCK_TOLERANCE else max(age, 0.0)


class Verdict(NamedTuple):
    """How an action ended, and the C(evidence) for it."""

    outcome: str
    evidence: str
    failed: bool = False


def judge_run(
    before: EtlStatus,
    status: EtlStatus,
    *,
    seen_executing: bool,
    since: float | None = None,
    fail_on_warning: bool = False,
) -> Verdict | None:
    """Whether the run that was requested at C(before) is over; None: not yet, or not even started.

    Over = nothing executes, and the last execution is newer than the baseline or executing was seen since. While
    neither holds, the server still shows the old state: remote engines poll for work. C(exit_code) beside RUNNING is
    the previous run's, so it is read only here.

    :param since: seconds since 1970 of the request by the server's clock, if known.
    """
    if status.state == "SERVICE_ON":
        return Verdict("service_on", "state_reached")
    if status.state not in OVER:
        return None
    moved = status.executed_since(before, since)
    if not moved and not seen_executing:
        if status.state == "ABORTED" and before.state != "ABORTED":
            return Verdict("aborted", "state_reached", failed=True)
        return None
    evidence = "timestamp_changed" if moved else "seen_running"
    if status.state == "ABORTED":
        return Verdict("aborted", evidence, failed=True)
    if status.exit_code == "OK":
        return Verdict("succeeded", evidence)
    if status.exit_code == "WARNING":
        return Verdict("warning", evidence, failed=fail_on_warning)
    return Verdict("failed", evidence, failed=True)


def judge_schedule(before: EtlStatus, status: EtlStatus, since: float | None = None) -> Verdict | None:
    """Whether a schedule request took effect: the ETL is scheduled, executing, or has executed since."""
    if status.state == "SERVICE_ON":
        return Verdict("service_on", "state_reached")
    if status.state == "WAITING" or status.executing:
        return Verdict("scheduled", "state_reached")
    if status.state in OVER and status.executed_since(before, since):
        return Verdict("scheduled", "timestamp_changed")
    return None


def judge_idle(before: EtlStatus, status: EtlStatus, action: str, times_none: int = 0) -> Verdict | None:
    """Whether a stop or kill took effect: nothing executes, and kill has canceled the schedule.

    :param times_none: how often in a row the server gave no value; a single one proves nothing.
    """
    if not status.at_rest:
        return None
    if status.state == NEVER and times_none < 2:
        return None
    if action == "kill" and before.state == "WAITING" and status.state == "WAITING":
        return None
    return Verdict("service_off" if status.state == "SERVICE_OFF" else "stopped", "state_reached")


def judge_wait(
    until: str,
    before: EtlStatus,
    status: EtlStatus,
    *,
    seen_executing: bool,
    since: float | None = None,
    fail_on_warning: bool,
    times_none: int,
) -> Verdict | None:
    """Whether the state that C(etl_wait) waits for is reached.

    C(finished) is judged as a run that was requested at C(before), except that a service counts as finished when it
    is off.
    """
    if until == "executing":
        if status.executing:
            return Verdict("executing", "state_reached")
        if status.state in OVER and status.executed_since(before, since):
            return Verdict("executing", "timestamp_changed")
        return None
    if until == "idle":
        return judge_idle(before, status, "stop", times_none) and Verdict("idle", "state_reached")
    if status.state == "SERVICE_ON":
        return None
    if status.state == "SERVICE_OFF":
        return Verdict("service_off", "state_reached") if seen_executing else None
    return judge_run(before, status, seen_executing=seen_executing, since=since, fail_on_warning=fail_on_warning)


def next_poll(since_change: float, poll_interval: float, active: int = 1) -> float:
    """Seconds until the next poll: a twentieth of the time that the state has lasted, from 0.3 s to C(poll_interval).

    Short runs are noticed immediately, and long ones cause few requests. Many ETLs share a limit: about 200 requests
    per second in the first seconds after a change, and 25 later.
    """
    share = min(active / 25.0, max(active / 200.0, 0.25 * since_change))
    return min(max(0.3, 0.05 * since_change, share), max(poll_interval, share))


def describe_seconds(seconds: float) -> str:
    """A duration as text."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
