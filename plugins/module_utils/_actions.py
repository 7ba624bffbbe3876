# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules share: which ETLs are selected, and what the task returns.

Private to this collection. Does not use C(AnsibleModule).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple

from . import _report as report
from ._api import Etl, HelixApi, connect
from ._errors import EtlNotFoundError, HelixError, OptionError
from ._execution import run_all
from ._observer import Task
from ._options import check_numbers
from ._plan import Policy
from ._report import Record, Request
from ._run_files import Host, Notes, PrivateFolderError
from ._status import NEVER, EtlStatus, matches

Warn = Callable[[str], None]
#: One of these options names the ETLs.
SELECTORS = ("etl_id", "etl_name", "name_pattern")
#: The options that select among those ETLs by their last result.
LAST_RESULT: dict[str, dict[str, Any]] = {
    "last_result": {"type": "list", "elements": "str", "choices": ["failed", "aborted", "warning", "ok", "never"]},
    "allow_empty": {"type": "bool", "default": True},
}


# -- which ETLs -------------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """An ETL to act on. The name is None if the user gave an id and the list was not read."""

    etl_id: int
    name: str | None = None


def check_selection(options: Mapping[str, Any]) -> None:
    """Everything about the selection that can be checked without the server.

    :raises OptionError: nothing is selected, or the selection is not valid.
    """
    check_numbers(options)
    given = [option for option in SELECTORS if options.get(option) is not None]
    if not given:
        raise OptionError("No ETL is named.", remedy="Set etl_id, etl_name, or name_pattern.")
    for option in (*given, *(["exclude"] if options.get("exclude") else [])):
        if not options[option] or not all(str(text).strip() for text in options[option]):
            raise OptionError(f"{option} is empty or contains an empty text.", remedy="Specify at least one ETL.")
    if options.get("action") in ("stop", "kill") and options.get("name_pattern") and not options["confirm_all"]:
        for pattern in options["name_pattern"]:
            if not pattern.strip().strip("*?"):
                raise OptionError(
                    f"name_pattern {pattern!r} with action: {options['action']} selects every ETL.",
                    remedy="Use a pattern with at least one letter or digit, or set confirm_all: true.",
                )


def _normal(name: str) -> str:
    """The form in which names are compared: the same letters can be composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def by_name(names: Sequence[str], etls: Sequence[Etl]) -> list[Target]:
    """The ETLs with exactly these names, in the given order.

    :raises EtlNotFoundError: a name matches no ETL, or several; the nearest names are listed with their ids.
    """
    targets: list[Target] = []
    problems: list[str] = []
    for name in names:
        # An ETL that is listed twice is addressed once.
        found = {etl.etl_id: etl.name for etl in etls if _normal(etl.name) == _normal(name)}
        if len(found) == 1:
            targets.append(Target(*next(iter(found.items()))))
        elif found:
            ids = ", ".join(map(str, found))
            problems.append(f"{name!r} is the name of several ETLs (ids {ids}); use etl_id instead.")
        else:
            problems.append(f"there is no ETL named {name!r}. {_nearest(name, etls)}")
    if problems:
        joined, what = ",".join(names), f"{len(problems)} of {len(names)} names cannot be resolved"
        remedy = "Names must match exactly; a key sees only the ETLs of its task groups. Nothing was started."
        if len(names) > 1 and any(_normal(etl.name) == _normal(joined) for etl in etls):
            remedy = f"The name {joined!r} contains a comma: put it into a YAML list. Nothing was started."
        message = f"{what if len(problems) > 1 else 'Name not resolved'}: {' '.join(problems)}"
        raise EtlNotFoundError(message, kind="etl_name", remedy=remedy)
    return targets


def _nearest(name: str, etls: Sequence[Etl]) -> str:
    import difflib  # only for this error, because the import takes longer than the rest of the task

    if not etls:
        return "No ETLs are visible to this key."
    alike = [etl for etl in etls if " ".join(etl.name.split()) == " ".join(_normal(name).split())]
    if alike:
        return f"ETL {alike[0].etl_id} differs in white space only: {alike[0].name!r}."
    folded = {etl.name.lower(): etl for etl in etls}
    close = difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.4)
    close += [text for text in folded if name.lower() in text and text not in close][:3]
    if not close:
        return f"None of the {len(etls)} visible ETLs has a similar name."
    return "Nearest: " + ", ".join(f"{folded[text].name!r} (id {folded[text].etl_id})" for text in close) + "."


def _once(given: list[Any], option: str, warn: Warn) -> list[Any]:
    unique = list(dict.fromkeys(given))
    if len(unique) < len(given):
        twice = sorted({str(item) for item in given if given.count(item) > 1})
        warn(f"{option} contains {', '.join(twice[:10])} more than once; each ETL is addressed once.")
    return unique


def select(options: Mapping[str, Any], api: HelixApi, warn: Warn, deadline: float | None = None) -> list[Target]:
    """The selected ETLs, each once; without a selection, all. The list is read only if it is needed.

    :raises EtlNotFoundError: a name matches no ETL, or several.
    :raises HelixError: the list could not be read.
    """
    names, patterns, exclude = options["etl_name"], options.get("name_pattern"), options.get("exclude")
    wanted, ids = names or patterns or exclude, options["etl_id"]
    etls = _listed(api, wanted or (), deadline) if wanted or ids is None else []
    if names is not None:
        targets = by_name(_once(names, "etl_name", warn), etls)
    elif ids is not None:
        targets = [Target(etl_id) for etl_id in _once(ids, "etl_id", warn)]
    else:
        found = _matching(["*"] if patterns is None else patterns, etls, "name_pattern", warn)
        targets = [Target(*known) for known in {e.etl_id: e.name for e in etls if e.etl_id in found}.items()]
    excluded = _matching(exclude or (), [*targets, *etls], "exclude", warn)
    return [target for target in targets if target.etl_id not in excluded]


def _listed(api: HelixApi, wanted: Sequence[str], deadline: float | None) -> list[Etl]:
    try:
        return api.list_etls(deadline=deadline)
    except HelixError as error:
        told = ", ".join(repr(text) for text in wanted[:3]) + (" …" if len(wanted) > 3 else "")
        raise error.reworded(f"{told} could not be looked up: {error.message}") from None


def _matching(texts: Sequence[str], etls: Sequence[Etl | Target], option: str, warn: Warn) -> set[int]:
    """The ids of the ETLs that match a pattern or, for C(exclude), an id. A warning names items that match none."""
    found: dict[str, set[int]] = {}
    for text in texts:
        etl_id = text.strip() if option == "exclude" else None
        found[text] = {e.etl_id for e in etls if matches(text, e.name or "") or str(e.etl_id) == etl_id}
    unknown = [repr(text) for text, ids in found.items() if not ids]
    if unknown and (option == "exclude" or len(unknown) < len(found)):
        warn(f"{option} contains {', '.join(unknown)}, which matches no ETL.")
    return set().union(*found.values())


# -- etl_action and etl_wait ------------------------------------------------------------------------------------------


class Baseline(NamedTuple):
    """The state before a request, and the server's time of the request, if it is known."""

    status: EtlStatus
    since: float | None


def carry_out(
    options: Mapping[str, Any], policy: Policy, host: Host, baselines: Mapping[int, Baseline | None]
) -> dict[str, Any]:
    """The result of C(etl_action) or C(etl_wait) for all selected ETLs, with C(failed) if one of them failed.

    :raises HelixError: nothing was done, or no state could be read.
    """
    notes, ends_at = _notes(options, host), host.clock.now() + (options["total_timeout"] or float("inf"))
    api = connect(options, host.redactor, host.clock, options["max_parallel"])
    try:
        deadline = min(host.clock.now() + policy.wait_timeout, ends_at)
        targets = select(options, api, host.warn, deadline)
        if options["last_result"]:
            targets = _by_last_result(api, targets, options, deadline)
        records = [Record(target.etl_id, target.name) for target in targets]
        if not records:
            return _nothing(options, policy)
        for r in records:
            given = baselines.get(r.etl_id)
            r.has_ended = given is None and r.etl_id in baselines
            if given:
                r.before, r.request = given.status, Request(policy.action, 0.0, given.since)
        task = Task(
            api,
            policy,
            notes=notes,
            over=host.channel.over,
            tell=lambda record: host.channel.tell(_event(record, policy, host)),
            ends_at=ends_at,
            stop_on_failure=bool(options.get("stop_launching_on_failure")),
        )
        host.channel.tell(_beginning(task, records, host))
        run_all(task, records, options["max_parallel"])
    finally:
        api.transport.close()
    for text in dict.fromkeys(text for r in records for text in r.warnings):
        host.warn(text)
    result = _result(records, policy, host.want_diff)
    if options.get("details") == "auto":
        if "etl" in result:
            result["etl"] = report.shortened(result["etl"], one_of_several=False)
        result["etls"] = [report.shortened(e) for e in result["etls"]]
    return result


def _notes(options: Mapping[str, Any], host: Host) -> Notes:
    """:raises OptionError: the folder that the user named cannot be used."""
    about, chosen = host.channel.about, options.get("request_notes")
    address = str(options["url"] or "").strip().rstrip("/").lower()
    try:
        return Notes(chosen or about.get("notes"), address, about)
    except PrivateFolderError as error:
        if not chosen:
            return Notes(None)
        raise OptionError(
            f"The folder {chosen} (request_notes) cannot be used: {error}.",
            remedy="Set request_notes to an existing folder of mode 0700 that belongs to the user of the task.",
        ) from None


def _beginning(task: Task, records: Sequence[Record], host: Host) -> dict[str, Any]:
    """The first event of the channel: all ETLs, and how long the task may take."""
    entries = [host.redactor.masked(report.entry(r, task.policy)) for r in records]
    limit = min(task.policy.wait_timeout, task.ends_at - host.clock.now())
    return {"wait_timeout": limit if task.policy.wait else None, "entries": entries}


def _event(r: Record, policy: Policy, host: Host) -> dict[str, Any]:
    """A change for the action plugin to show, with what is known of the entry."""
    return {
        "phase": r.phase,
        "lost": r.losses,
        "elapsed": host.clock.now() - (r.began or host.clock.now()),
        "entry": host.redactor.masked({**report.entry(r, policy), "timeline": []}),
    }


def _nothing(options: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """The result if no ETL was selected.

    :raises EtlNotFoundError: C(allow_empty) is false.
    """
    how = [f"{name} {options[name]!r}" for name in ("name_pattern", "last_result", "exclude") if options.get(name)]
    text = f"No ETL matches {' and '.join(how)}"
    if not options.get("allow_empty", True):
        remedy = "Check these options and the task groups of the key, or set allow_empty: true."
        raise EtlNotFoundError(f"{text}.", kind="etl_name", remedy=remedy)
    return {"changed": False, "failed": False, "action": policy.action, "etls": [], "msg": f"{text}; nothing to do."}


def last_result(status: EtlStatus) -> str | None:
    """The value of C(last_result) that describes this status; None if none does."""
    if status.state == "ABORTED":
        return "aborted"
    if status.exit_code:
        return status.exit_code.lower() if status.exit_code in ("OK", "WARNING") else "failed"
    return "never" if status.state == NEVER and not status.last_exec_ts else None


def look_at(
    api: HelixApi, ids: Sequence[int], width: int, deadline: float | None = None
) -> list[EtlStatus | HelixError]:
    """The state of each ETL, or why it could not be read."""

    def look(etl_id: int) -> EtlStatus | HelixError:
        try:
            return api.status(etl_id, deadline=deadline)
        except HelixError as error:
            return error

    from concurrent.futures import ThreadPoolExecutor  # most tasks do not need it

    with ThreadPoolExecutor(max_workers=max(1, min(width, len(ids)))) as pool:
        return list(pool.map(look, ids))


def _by_last_result(api: HelixApi, targets: list[Target], options: Mapping[str, Any], deadline: float) -> list[Target]:
    looks = look_at(api, [target.etl_id for target in targets], options["max_parallel"], deadline)
    chosen = []
    for target, look in zip(targets, looks):
        if isinstance(look, HelixError):
            raise look
        if last_result(look) in options["last_result"]:
            chosen.append(target)
    return chosen


def _result(records: Sequence[Record], policy: Policy, want_diff: bool) -> dict[str, Any]:
    entries = [report.entry(r, policy) for r in records]
    bad = [entry for entry in entries if entry["failed"]]
    result: dict[str, Any] = {
        "changed": any(entry["changed"] for entry in entries),
        "failed": bool(bad),
        "action": policy.action,
        "etls": entries,
        "msg": report.summary(entries),
    }
    if bad:
        result["error"] = bad[0]["error"]
    if len(entries) == 1:
        result["etl"] = entries[0]
    if want_diff and policy.action != "wait":
        pairs = {f"ETL {r.etl_id}": report.diff(r, policy) for r in records}
        for number, side in enumerate(("before", "after")):
            states = {label: pair[number] for label, pair in pairs.items()}
            result.setdefault("diff", {})[side] = states if len(states) > 1 else next(iter(states.values()))
    return result
