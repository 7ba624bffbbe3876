# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences and result entries: what a user reads about one ETL.

Private to this collection. Pure: no input, no output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    EtlNotFoundError,
    HelixError,
    RequestRefusedError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy, describe_seconds
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress

PAST = {"run": "started", "schedule": "scheduled", "stop": "stopped", "kill": "killed"}
SEE_LOG = "See the ETL's log in the Helix console (the API has none)."
#: What a state is expected to be after an action, for check mode's diff.
EXPECTED = {"run": "RUNNING", "schedule": "WAITING", "stop": "(not executing)", "kill": "(not executing)"}


def _request(p: Progress) -> str:
    return _numbered(p.request_id)


def _numbered(request_id: int | None) -> str:
    return "" if request_id is None else f" (request {request_id})"


def still_busy(p: Progress, policy: Policy) -> HelixError:
    """C(wait_timeout) is over before the run could be asked for: another run, or the server, did not make room."""
    limit = f"{describe_seconds(policy.wait_timeout)} (wait_timeout; last seen: {p.seen})."
    if p.put_off:
        return HelixError(
            f"{p.label}: nothing was done within {limit} The last try: {p.last_loss}",
            kind="timed_out",
            remedy="Try again later, or raise wait_timeout.",
        )
    told = f" got the {p.sent} request and" if p.sent else ""
    ended = "was not seen to end within" if p.losses else "had not ended after"
    lost = f" The last looks at it were lost: {p.last_loss}" if p.losses else ""
    return HelixError(
        f"{p.label} was not started: the run that was under way{told} {ended} {limit}{lost}",
        kind="timed_out",
        remedy="Raise wait_timeout, or choose if_running: restart."
        if policy.if_running == "queue"
        else "Give kill_after, so that a run that does not stop is killed.",
    )


def already_running(p: Progress) -> HelixError:
    return HelixError(
        f"{p.label} was not started: {p.reason}.",
        kind="already_running",
        remedy="Wait for it (etl_wait), or choose if_running: attach, queue or restart.",
    )


def bad_end(p: Progress, outcome: str) -> HelixError:
    """The run ended, and not well."""
    exit_code = p.seen.exit_code if p.seen else None
    if outcome == "aborted":
        return HelixError(
            f"{p.label} was aborted before it had done its work.",
            kind="aborted",
            remedy=f"Somebody stopped or killed it, or its scheduler went down. {SEE_LOG}",
        )
    if outcome == "warning":
        return HelixError(
            f"{p.label} ended with exit WARNING, which fail_on_warning makes a failure.",
            kind="exit_warning",
            remedy=f"Often an empty input or partly bad rows. {SEE_LOG}",
        )
    return HelixError(
        f"{p.label} ended with exit {exit_code}." if exit_code else f"{p.label} ended without an exit code.",
        kind="exit_error",
        remedy=SEE_LOG,
    )


def not_started(p: Progress, policy: Policy, now: float) -> tuple[str, HelixError]:
    """The request had no effect that could be seen in time: the outcome's word, and why."""
    waited = describe_seconds(now - p.first_sent_at)
    option, limit = "start_timeout", f"within {waited} (start_timeout)"
    if now < p.first_sent_at + policy.start_timeout:
        option, limit = "wait_timeout", f"before wait_timeout ({describe_seconds(policy.wait_timeout)}) was over"
    if policy.action == "wait":
        return "not_started", HelixError(
            f"{p.label} was not seen to execute since the baseline {limit}; last seen: {p.seen}.",
            kind="not_started",
            remedy="Check that it was started, and that its engine is active.",
        )
    seen = f"Its state could not be read at the end: {p.last_loss}" if p.losses else f"It still shows: {p.seen}."
    if p.ambiguous:
        return "unconfirmed", HelixError(
            f"It is not known whether the {policy.action} request for {p.label} reached the server: {p.doubt}"
            f" Nothing was seen to happen within {waited}. {seen}",
            kind="unconfirmed",
            remedy="It was not sent again, so that nothing starts twice. Look at the ETL in the console, or run this"
            " task again: it attaches to a run that did start.",
        )
    accepted = f"The server accepted the {policy.action} request for {p.label}{_request(p)}, but"
    if p.losses:
        return "unconfirmed", HelixError(
            f"{accepted} what became of it was not seen within {waited}. {seen}",
            kind="unconfirmed",
            remedy="Run this task again when the server answers: it attaches to a run that is under way.",
        )
    if policy.action == "run":
        return "not_started", HelixError(
            f"{accepted} it did not start {limit}. {seen}",
            kind="not_started",
            remedy="The usual causes: the remote ETL engine is inactive (maintenance) or not responding, or its"
            " scheduler is down. Look at the engine's status in the console. The request may still be carried out"
            f" later. Raise {option} where engines are slow.",
        )
    effect = "it was not seen to be scheduled" if policy.action == "schedule" else "its schedule was not seen to go"
    return "timed_out", HelixError(
        f"{accepted} {effect} {limit}. {seen}",
        kind="timed_out",
        remedy="Check in the console that the ETL has a schedule and that its engine is active.",
    )


def timed_out(p: Progress, policy: Policy, became: str) -> HelixError:
    """C(wait_timeout) is over. Who could not look at the end must not say that it has not come."""
    lost = f" The last looks at it were lost: {p.last_loss}" if p.losses else ""
    kind = "unconfirmed" if p.losses else "timed_out"
    run = policy.action == "run"
    if policy.action == "wait":
        not_so = f"was not seen to be {policy.until} within" if p.losses else f"was not {policy.until} after"
        return HelixError(
            f"{p.label} {not_so} {describe_seconds(policy.wait_timeout)} (wait_timeout; last seen: {p.seen}).{lost}",
            kind=kind,
            remedy="Run the task again to go on waiting, or raise wait_timeout.",
        )
    if p.ambiguous and p.sent in ("stop", "kill"):
        lost += f" The answer to the {p.sent} request was lost: {p.doubt}"
    if p.losses:
        not_so = f"was not seen to {'end' if run else 'stop'} within"
    else:
        not_so = f"had not {'ended' if run else 'stopped'} after"
    # With on_timeout the latest request is the one that ended the run; the result speaks of the run's.
    request = _numbered(p.kept[2] if p.kept else p.request_id)
    over = bool(run and p.kept and p.seen and p.seen.at_rest)
    seen = "" if over else f"; last seen: {p.seen}"
    if over:
        remedy = "Raise wait_timeout if it needs longer."
    elif run:
        remedy = "Run the task again to go on waiting (it attaches to a run), or raise wait_timeout."
    else:
        remedy = "Run the task again, give kill_after, or use action: kill."
    return HelixError(
        f"{p.label}{request} {not_so} {describe_seconds(policy.wait_timeout)} (wait_timeout{seen}). {became}".rstrip()
        + lost,
        kind=kind,
        remedy=remedy,
    )


def lost_sight(p: Progress, error: HelixError) -> HelixError:
    """Something was started or followed, and then nothing could be seen any more."""
    if p.attached:
        what = "was running already and was followed"
    elif p.accepted:
        what = f"got the {p.sent} request{_request(p)}, and the server accepted it"
    else:
        what = f"got the {p.sent} request, whose answer was lost"
    return _like(
        error,
        f"{p.label} {what}. When last seen it was: {p.seen}. Its end could not be observed: {error.message}",
        f"{error.remedy} Then run this task again: it attaches to a run that is under way.".strip(),
    )


def refused(p: Progress, error: HelixError) -> HelixError:
    """An error before anything was started."""
    message = error.message
    if isinstance(error, RequestRefusedError) and p.seen is not None:
        message += f" Its state now: {p.seen}."
    elif not isinstance(error, EtlNotFoundError) and f"ETL {p.etl_id}" not in message:
        message = f"{p.label}: {message}"
    if p.cleared:
        message += " The run that was under way had been stopped before (if_running: restart)."
    return _like(error, message, error.remedy)


def unresolved(names: Sequence[str], error: HelixError) -> HelixError:
    """The names could not be looked up."""
    told = ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
    return _like(error, f"The id of {told} could not be looked up: {error.message}", error.remedy)


def _like(error: HelixError, message: str, remedy: str) -> HelixError:
    return HelixError(
        message,
        kind=error.kind,
        remedy=remedy,
        http_status=error.http_status,
        method=error.method,
        path=error.path,
        server_message=error.server_message,
    )


def describe(p: Progress, action: str) -> str:
    """One readable sentence (or two) about how it went."""
    if p.failed:
        return f"{p.reason} {p.remedy}".strip()
    took = describe_seconds((p.ended or 0.0) - (p.began or 0.0))
    escalated = " It did not stop in time (kill_after) and was killed." if p.escalated else ""
    if p.outcome in ("succeeded", "warning"):
        exit_code = p.seen.exit_code if p.seen else None
        if action == "wait":
            return f"{p.label} ended with exit {exit_code} (waited {took})."
        if p.attached:
            return f"{p.label} was running already; it was followed and ended with exit {exit_code} after {took}."
        adopted = " (the answer to the request was lost, but the run was found)" if p.evidence == "adopted" else ""
        return f"{p.label} ran and ended with exit {exit_code} after {took}{adopted}."
    sentences = {
        "scheduled": f"{p.label} is scheduled.",
        "service_on": f"The service {p.label} is on.",
        "service_off": f"The service {p.label} is off.{escalated}",
        "stopped": f"{p.label} was {PAST.get(p.sent or action, 'stopped')} and does not execute any more ({p.seen})."
        + escalated,
        "accepted": f"The server accepted the {action} request for {p.label}{_request(p)}; not waiting for it.",
        "fresh": f"{p.label} was not run: {p.reason}.",
        "nothing_to_do": f"{p.label}: nothing to do, {p.reason}.",
        "executing": f"{p.label} is executing, or has executed since ({p.seen}).",
        "idle": f"{p.label} does not execute ({p.seen}).",
    }
    if p.outcome == "stopped" and p.before and p.before.state == "WAITING":
        return f"The schedule of {p.label} was cancelled ({p.seen})."
    if p.outcome in sentences:
        return sentences[p.outcome]
    return f"{p.label} would be sent a {action} request: {p.reason}."


def entry(p: Progress, policy: Policy) -> dict[str, Any]:
    """The entry of one ETL in the result C(etls)."""
    result: dict[str, Any] = {
        "etl_id": p.etl_id,
        "action": policy.action,
        "changed": p.changed,
        "failed": p.failed,
        "outcome": p.outcome,
        "attached": p.attached,
        "before": p.before.public() if p.before else None,
        "after": p.seen.public() if p.seen else None,
        "task_execution_request_id": p.request_id,
        "request_status": p.request_status,
        "evidence": p.evidence,
        "timeline": p.timeline,
        "started_at": p.started_at,
        "elapsed_seconds": round((p.ended or 0.0) - (p.began or 0.0), 1),
        "polls": p.polls,
        "lost_polls": p.lost_polls,
        "token_renewals": p.token_renewals,
        "msg": describe(p, policy.action),
    }
    if p.etl_name:
        result["etl_name"] = p.etl_name
    if p.error:
        result["error"] = p.error
    return result


def summary(entries: list[dict[str, Any]]) -> str:
    """One sentence for the whole task."""
    if len(entries) == 1:
        return str(entries[0]["msg"])
    bad = [e for e in entries if e["failed"]]
    counts: dict[str, int] = {}
    for e in entries:
        counts[str(e["outcome"])] = counts.get(str(e["outcome"]), 0) + 1
    words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    if not bad:
        return f"{len(entries)} ETLs: {words}."
    told = " | ".join(str(e["msg"]) for e in bad[:5])
    more = f" | … and {len(bad) - 5} more, see etls." if len(bad) > 5 else ""
    return f"{len(bad)} of {len(entries)} ETLs failed ({words}). {told}{more}"


def diff(p: Progress, policy: Policy) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the action altered (or, in check mode, would alter): two small dictionaries."""
    before = p.before.public() if p.before else {"status": None}
    after = p.seen.public() if p.seen else dict(before)
    if policy.check_mode and p.changed:
        after = {**before, "status": EXPECTED[policy.action]}
    return before, after
