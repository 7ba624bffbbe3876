# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one ETL, and the sentences and result entries made from it.

Private to this collection. Without input and output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._errors import EtlNotFoundError, HelixError, RequestRefusedError
from ._plan import Policy, describe_seconds
from ._status import EtlStatus

PAST = {"run": "started", "schedule": "scheduled", "stop": "stopped", "kill": "killed"}
SEE_LOG = "See the ETL's log in the Helix console (the API does not provide it)."
#: Left out of the entries of ETLs that did not fail.
_LONG = ("timeline", "polls", "lost_polls", "token_renewals")
#: The keys of short entries, for runs that ended well and ETLs that were not tried.
_SHORT = ("etl_id", "etl_name", "changed", "failed", "outcome", "after", "msg", "error")
ENDED_WELL = ("succeeded", "warning")
#: The state expected after an action, for the diff in check mode.
EXPECTED = {"run": "RUNNING", "schedule": "WAITING", "stop": "(not executing)", "kill": "(not executing)"}


def label(etl_id: int, name: str | None) -> str:
    """How messages name an ETL."""
    return f"ETL {etl_id} ({name})" if name else f"ETL {etl_id}"


@dataclass(eq=False, repr=False)  # each generated method takes time in each task
class Request:
    """One request that was sent. C(sent_at) is on the task's clock, C(server_time) in seconds since 1970.

    C(ambiguous): the response was lost, so the server may or may not have carried the request out; C(doubt) says why.
    """

    action: str
    sent_at: float
    server_time: float | None = None
    accepted: bool = False
    ambiguous: bool = False
    doubt: str = ""
    request_id: int | None = None
    request_status: str | None = None
    times: int = 1


@dataclass(eq=False, repr=False)
class Record:
    """Everything that is known about one ETL in one task. Times are seconds on the task's clock.

    C(request) is the request of the task's action; C(ending) is a stop or kill that makes room for it or ends it.
    C(limit) and C(limited_by): seconds for this ETL, and the option that sets them. C(has_ended): an earlier task has
    already reported the end of the run that is waited for.
    """

    etl_id: int
    etl_name: str | None = None
    before: EtlStatus | None = None
    seen: EtlStatus | None = None
    began: float | None = None
    limit: float = 0.0
    limited_by: str = "wait_timeout"
    ended: float | None = None
    started_at: str | None = None
    request: Request | None = None
    ending: Request | None = None
    attached: bool = False
    joined: str = ""
    has_ended: bool = False
    cleared: bool = False
    escalated: bool = False
    put_off: int = 0
    polls: int = 0
    lost_polls: int = 0
    losses: int = 0
    last_loss: str = ""
    token_renewals: int = 0
    timeline: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    phase: str = "queued"
    outcome: str | None = None
    evidence: str | None = None
    changed: bool = False
    reason: str = ""
    problem: HelixError | None = None

    @property
    def label(self) -> str:
        return label(self.etl_id, self.etl_name)

    @property
    def failed(self) -> bool:
        return self.problem is not None

    @property
    def done(self) -> bool:
        return self.outcome is not None

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _numbered(request: Request | None, before: str = " as ") -> str:
    return "" if request is None or request.request_id is None else f"{before}request {request.request_id}"


def _lost_looks(r: Record) -> str:
    return f" The last polls failed: {r.last_loss}" if r.losses else ""


def _problem(kind: str, message: str, remedy: str) -> HelixError:
    return HelixError(message, kind=kind, remedy=remedy)


def still_busy(r: Record, policy: Policy) -> HelixError:
    """C(wait_timeout) expired before the run could be requested."""
    limit = f"{describe_seconds(r.limit)} ({r.limited_by}; last seen: {r.seen})."
    if r.put_off:
        message = f"the {policy.action} request was not accepted within {limit} The last attempt: {r.last_loss}"
        return _problem("timed_out", f"{r.label}: {message}", f"Try again later, or raise {r.limited_by}.")
    told = f" received the {r.ending.action} request and" if r.ending else ""
    ended = "was not seen to end within" if r.losses else "had not ended after"
    message = f"{r.label} was not started: the run in progress{told} {ended} {limit}{_lost_looks(r)}"
    remedy = "Set kill_after, so that a run that does not stop is killed."
    if policy.if_running == "queue":
        remedy = f"Raise {r.limited_by}, or set if_running: restart."
    return _problem("timed_out", message, remedy)


def already_running(r: Record) -> HelixError:
    remedy = "Wait for it (etl_wait), or set if_running to attach, queue, or restart."
    return _problem("already_running", f"{r.label} was not started: {r.reason}.", remedy)


def bad_end(r: Record, outcome: str) -> HelixError:
    """The run ended, but not successfully."""
    exit_code = r.seen.exit_code if r.seen else None
    if outcome == "aborted":
        remedy = f"Someone stopped or killed it, or its scheduler went down. {SEE_LOG}"
        return _problem("aborted", f"{r.label} was aborted before it finished.", remedy)
    if outcome == "warning":
        message = f"{r.label} ended with exit WARNING, which is a failure because of fail_on_warning."
        return _problem("exit_warning", message, f"Common causes are an empty input or invalid rows. {SEE_LOG}")
    how = f"with exit {exit_code}" if exit_code else "without an exit code"
    return _problem("exit_error", f"{r.label} ended {how}.", SEE_LOG)


def _shown(r: Record) -> str:
    if r.losses:
        return f"Its state could not be read at the end: {r.last_loss}"
    old, new = (status.moment if status else None for status in (r.before, r.seen))
    if old is not None and new is not None and new > old and r.request and r.request.server_time is not None:
        return (
            f"It shows: {r.seen}. That run is newer than the state before, but older than this request by the server's"
            " clock, so another client started it or the clocks differ."
        )
    return f"It still shows: {r.seen}."


_WAIT_SAFELY = "To wait without sending anything, use etl_wait with this result's etls as baseline."
_AGAIN = (
    "Until the engine has started the run, the API does not show an accepted request, so running this task again may"
    " start a second run."
)
_ENGINE = (
    "Usual causes: the remote ETL engine is inactive (maintenance) or not responding, or its scheduler is down. Check"
    f" the engine's status in the console; the run may still start later. {_WAIT_SAFELY} {_AGAIN}"
)


def not_started(r: Record, policy: Policy, now: float) -> HelixError:
    """The request had no visible effect in time."""
    began = r.request.sent_at if r.request else (r.began or 0.0)
    waited = describe_seconds(now - began)
    option, limit = "start_timeout", f"within {waited} (start_timeout)"
    if now < began + policy.start_timeout:
        option, limit = r.limited_by, f"before {r.limited_by} ({describe_seconds(r.limit)}) expired"
    if policy.action == "wait":
        message = f"{r.label} was not seen to execute since the baseline {limit}. Last seen: {r.seen}."
        return _problem("not_started", message, "Check that it was started, and that its engine is active.")
    if r.joined:
        message = f"{r.label} did not start {limit}. {r.joined} {_shown(r)}"
        return _problem("not_started", message, f"Check the status of the ETL engine in the console. {_WAIT_SAFELY}")
    effects = {"run": "no run was seen to start", "schedule": "it was not seen to be scheduled"}
    effect = effects.get(policy.action, "its schedule was not seen to end")
    again = "Run the task again; a second kill does no harm." if policy.action == "kill" else f"{_WAIT_SAFELY} {_AGAIN}"
    if r.request and r.request.ambiguous:
        lost = f"The response to the {policy.action} request for {r.label} was lost: {r.request.doubt}"
        once = "" if policy.action == "kill" else "The request was not sent again, so that nothing starts twice. "
        message = f"{lost} {effect[0].upper()}{effect[1:]} within {waited}. {_shown(r)}"
        return _problem("unconfirmed", message, f"{once}{again}")
    accepted = f"The server accepted the {policy.action} request for {r.label}{_numbered(r.request)}, but"
    if r.losses:
        message = f"{accepted} its effect could not be observed within {waited}. {_shown(r)}"
        return _problem("unconfirmed", message, again)
    if policy.action == "run":
        message = f"{accepted} the run did not start {limit}. {_shown(r)}"
        return _problem("not_started", message, f"{_ENGINE} Raise {option} if engines are slow.")
    remedy = "Check in the console that the ETL has a schedule and that its engine is active."
    return _problem("timed_out", f"{accepted} {effect} {limit}. {_shown(r)}", remedy)


def contradicted(r: Record) -> HelixError:
    """The ETL was seen to execute, but the time of its last run is still the one from before."""
    message = (
        f"{r.label} was seen to execute and is no longer executing, but the time of its last run is the same as before"
        f" the request ({r.seen}). The state of an earlier run that the server shows late has the same effect, so"
        " whether this run took place is not known."
    )
    return _problem("unconfirmed", message, f"Check the run history of the ETL in the console. {_WAIT_SAFELY}")


def goes_on(r: Record) -> str:
    """What is known of a run when the task stops waiting for it."""
    if r.losses:
        return "It may still be running."
    if r.seen and not r.seen.known:
        return f"The collection does not know the state {r.seen.state}, so it cannot tell whether the run is over."
    if r.seen and r.seen.at_rest:
        return "The end that it shows may be that of an earlier run."
    return "It is still running."


def timed_out(r: Record, policy: Policy, became: str, over: bool = False) -> HelixError:
    """C(wait_timeout) or C(total_timeout) expired. If the last polls failed, the end may have come unseen.

    :param over: the run was ended (C(on_timeout)).
    """
    words = {"run": ("had not ended", "end"), "wait": (f"was not {policy.until}", f"be {policy.until}")}
    not_so, end = words.get(policy.action, ("had not stopped", "stop"))
    # It was seen to execute, and nothing proves that the end that it shows is that of this run.
    is_unproven = policy.action == "run" and not over and r.seen is not None and r.seen.at_rest
    if policy.action == "wait":
        remedy = f"Run the task again to continue waiting, or raise {r.limited_by}."
    elif over:
        remedy = f"Raise {r.limited_by} if it needs longer."
    elif is_unproven:
        remedy = f"Check the run history of the ETL in the console. {_WAIT_SAFELY}"
    elif policy.action == "run":
        remedy = f"Run the task again to continue waiting (it attaches to a running ETL), or raise {r.limited_by}."
    else:
        remedy = "Run the task again, set kill_after, or use action: kill."
    is_open = r.losses > 0 or is_unproven
    not_so = f"was not seen to {end} within" if is_open else f"{not_so} after"
    seen = _numbered(r.request, "; ") + ("" if over else f"; last seen: {r.seen}")
    message = f"{r.label} {not_so} {describe_seconds(r.limit)} ({r.limited_by}{seen}). {became}".rstrip()
    message += _lost_looks(r)
    latest = r.ending or r.request
    if latest and latest.ambiguous:
        message += f" The response to the {latest.action} request was lost: {latest.doubt}"
    return _problem("unconfirmed" if is_open else "timed_out", message, remedy)


def lost_sight(r: Record, error: HelixError) -> HelixError:
    """Something was started or followed, and then its state could no longer be read."""
    request = r.request or r.ending
    if r.attached:
        what = "was already running and was followed"
    elif request and request.accepted:
        what = f"received the {request.action} request, which the server accepted{_numbered(request)}"
    else:
        what = f"was sent the {request.action if request else 'action'} request, but its response was lost"
    seen = f" Last seen: {r.seen}." if r.seen else ""
    message = f"{r.label} {what}.{seen} How it ended is not known: {error.message}"
    return error.reworded(message, f"{error.remedy} {_WAIT_SAFELY}".strip())


def refused(r: Record, error: HelixError) -> HelixError:
    """An error before anything was started."""
    message = error.message
    if isinstance(error, RequestRefusedError) and r.seen is not None:
        message += f" Its state now: {r.seen}."
    elif not isinstance(error, EtlNotFoundError) and f"ETL {r.etl_id}" not in message:
        message = f"{r.label}: {message}"
    if r.etl_name and r.etl_name not in message:
        message = message.replace(f"ETL {r.etl_id}", r.label, 1)
    if r.cleared:
        message += " The run in progress had already been stopped (if_running: restart)."
    return error.reworded(message)


_NOT_TRIED = " was not tried: "


def not_tried(r: Record, why: str) -> HelixError:
    """Nothing was sent for the ETL."""
    remedy = "Run the task again for the ETLs that were not tried (outcome not_tried)."
    return _problem("not_tried", f"{r.label}{_NOT_TRIED}{why}.", remedy)


def describe(r: Record, action: str) -> str:
    """One or two sentences about the end."""
    if r.problem:
        return r.problem.sentence()
    took = describe_seconds((r.ended or 0.0) - (r.began or 0.0))
    how = f"ended with exit {r.seen.exit_code if r.seen else None}"
    lost = " (the response to the request was lost, but its effect was seen)" if r.evidence == "adopted" else ""
    if r.outcome in ("succeeded", "warning"):
        if action == "wait":
            return f"{r.label} {how} (waited {took})."
        if r.joined:
            return f"{r.label} {how} after {took}. {r.joined}"
        if r.attached:
            return f"{r.label} was already running; the task followed it. It {how} after {took}."
        return f"{r.label} ran and {how} after {took}{lost}."
    if r.outcome == "stopped" and r.before and r.before.state == "WAITING":
        return f"The schedule of {r.label} was canceled ({r.seen}){lost}."
    escalated = " It did not stop in time (kill_after) and was killed." if r.escalated else ""
    request = r.ending or r.request
    done = PAST.get(request.action if request else action, "stopped")
    accepted = f"The server accepted the {action} request for {r.label}{_numbered(r.request)}; the task does not wait."
    if lost:
        accepted = f"The response to the {action} request for {r.label} was lost, but its effect was seen ({r.seen})."
    sentences = {
        "scheduled": f"{r.label} is scheduled{lost}.",
        "service_on": f"The service {r.label} is on{lost}.",
        "service_off": f"The service {r.label} is off{lost}.{escalated}",
        "stopped": f"{r.label} was {done} and is no longer running ({r.seen}){lost}.{escalated}",
        "accepted": accepted,
        "fresh": f"{r.label} was not run: {r.reason}.",
        "nothing_to_do": f"{r.label}: nothing to do, {r.reason}.",
        "executing": f"{r.label} is executing, or has executed since ({r.seen}).",
        "idle": f"{r.label} is not executing ({r.seen}).",
    }
    return sentences.get(str(r.outcome), f"{r.label} would be sent a {action} request: {r.reason}.")


def entry(r: Record, policy: Policy) -> dict[str, Any]:
    """The entry of one ETL in the result C(etls)."""
    request = r.request
    result: dict[str, Any] = {
        "etl_id": r.etl_id,
        "action": policy.action,
        "changed": r.changed,
        "failed": r.failed,
        "outcome": r.outcome,
        "attached": r.attached,
        "before": r.before.public() if r.before else None,
        "after": r.seen.public() if r.seen else None,
        "task_execution_request_id": request.request_id if request else None,
        "request_status": request.request_status if request else None,
        "evidence": r.evidence,
        "timeline": r.timeline,
        "started_at": r.started_at,
        "elapsed_seconds": round((r.ended or 0.0) - (r.began or 0.0), 1),
        "polls": r.polls,
        "lost_polls": r.lost_polls,
        "token_renewals": r.token_renewals,
        "msg": describe(r, policy.action) if r.done else "",
    }
    if r.etl_name:
        result["etl_name"] = r.etl_name
    if r.problem:
        result["error"] = r.problem.facts()
    return result


def shortened(e: dict[str, Any], one_of_several: bool = True) -> dict[str, Any]:
    """An entry without the keys that matter only after a failure."""
    ended_well = e["outcome"] in ENDED_WELL and not e["failed"]
    if one_of_several and (ended_well or e["outcome"] == "not_tried"):
        return {key: e[key] for key in _SHORT if key in e}
    return e if e["failed"] else {key: value for key, value in e.items() if key not in _LONG}


def counts(entries: Sequence[dict[str, Any]]) -> str:
    """For example C(3 succeeded, 1 failed)."""
    return ", ".join(f"{number} {outcome}" for outcome, number in Counter(e["outcome"] for e in entries).items())


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """C(msg) of the task: failures first, each with its name and remedy."""
    if len(entries) == 1:
        return str(entries[0]["msg"])
    bad = [e for e in entries if e["failed"]]
    if not bad:
        return f"{len(entries)} ETLs: {counts(entries)}."
    lines = [f"{len(bad)} of {len(entries)} ETLs failed ({counts(entries)})."]
    tried, rest = ([e for e in bad if (e["outcome"] == "not_tried") is late] for late in (False, True))
    lines += [f"- {e['msg']}" for e in tried[:10]]
    if len(tried) > 10:
        lines.append(f"- … and {len(tried) - 10} more; see etls.")
    if rest:
        ids = ", ".join(str(e["etl_id"]) for e in rest[:10]) + (", …" if len(rest) > 10 else "")
        lines.append(f"- Not tried: {ids}, because {rest[0]['msg'].partition(_NOT_TRIED)[2]}")
    return "\n".join(lines)


def diff(r: Record, policy: Policy) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the action changed (in check mode: would change): two small dictionaries."""
    before = r.before.public() if r.before else {"status": None}
    after = r.seen.public() if r.seen else dict(before)
    if policy.check_mode and r.changed:
        after = {**before, "status": EXPECTED[policy.action]}
    return before, after
