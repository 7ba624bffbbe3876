# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the modules, from options to results: which ETLs are selected, and what the task returns.

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
from ._options import check_numbers, plain_properties
from ._plan import Policy
from ._report import Record, Request
from ._run_files import Host, Notes, PrivateFolderError
from ._status import NEVER, EtlStatus, from_public, matches, parse_rfc3339

Warn = Callable[[str], None]
#: One of these options names the ETLs.
SELECTORS = ("etl_id", "etl_name", "name_pattern")
#: The values of C(last_result), as exit codes or states.
LAST_RESULTS: dict[str, Callable[[EtlStatus], bool]] = {
    "ok": lambda status: status.exit_code == "OK" and status.state != "ABORTED",
    "warning": lambda status: status.exit_code == "WARNING" and status.state != "ABORTED",
    "failed": lambda status: status.exit_code not in (None, "OK", "WARNING") and status.state != "ABORTED",
    "aborted": lambda status: status.state == "ABORTED",
    "never": lambda status: status.state == NEVER and not status.last_exec_ts,
}
_POLICY_OPTIONS = (
    *("wait", "wait_timeout", "start_timeout", "poll_interval", "if_running", "max_age"),
    *("fail_on_warning", "on_timeout", "kill_after"),
)


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
    """The selected ETLs, each once. The list is read only if it is needed.

    :raises EtlNotFoundError: a name matches no ETL, or several.
    :raises HelixError: the list could not be read.
    """
    names, patterns, exclude = options["etl_name"], options.get("name_pattern"), options.get("exclude")
    wanted = names or patterns or exclude
    etls = _listed(api, wanted, deadline) if wanted else []
    if names is not None:
        targets = by_name(_once(names, "etl_name", warn), etls)
    elif patterns is not None:
        found = _matching(patterns, etls, "name_pattern", warn)
        targets = [Target(*known) for known in {e.etl_id: e.name for e in etls if e.etl_id in found}.items()]
    else:
        targets = [Target(etl_id) for etl_id in _once(options["etl_id"], "etl_id", warn)]
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


def act(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_action): the result for one or several ETLs, with C(failed) if one of them failed.

    :raises HelixError: nothing was done.
    """
    check_selection(options)
    name = "secret_run_execution_properties"
    secret = plain_properties(options[name], name, secret=True)
    host.redactor.add(*secret.values())
    properties = plain_properties(options["run_execution_properties"], "run_execution_properties", warn=host.warn)
    policy = Policy(
        action=options["action"],
        check_mode=host.check_mode,
        retries=options["retries"],
        properties={**properties, **secret},
        **{name: options[name] for name in _POLICY_OPTIONS},
    )
    policy.check()
    return _run(options, policy, host, {})


def wait_for(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_wait): wait for runs that were started elsewhere. Sends no action.

    :raises HelixError: no state could be read.
    """
    check_selection(options)
    baselines = _baselines(options["baseline"])
    policy = Policy(
        action="wait",
        until=options["until"],
        check_mode=host.check_mode,
        retries=options["retries"],
        **{name: options[name] for name in ("wait_timeout", "start_timeout", "poll_interval", "fail_on_warning")},
    )
    return _run(options, policy, host, baselines)


class Baseline(NamedTuple):
    """The state before a request, and the server's time of the request, if it is known."""

    status: EtlStatus
    since: float | None


def _baselines(given: Sequence[Mapping[str, Any]] | None) -> dict[int, Baseline | None]:
    """Earlier entries, or their C(before) with an C(etl_id), as baselines; None if there is no newer run to wait for.

    :raises OptionError: an item is neither.
    """
    baselines: dict[int, Baseline | None] = {}
    for item in given or ():
        entry: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
        etl_id, outcome = str(entry.get("etl_id", "")), entry.get("outcome")
        before = entry.get("before") if "outcome" in entry else entry.get("before", entry)
        status = from_public(dict(before)) if isinstance(before, Mapping) else None
        is_usable = status is not None or (before is None and outcome is not None)
        if not is_usable or not etl_id.isascii() or not etl_id.isdigit() or int(etl_id) < 1:
            raise OptionError(
                "An item of baseline is not an entry of an earlier result.",
                remedy='Set baseline to the etls list that etl_action returned, for example "{{ started.etls }}".',
            )
        if outcome == "fresh" or (status is None and outcome in report.ENDED_WELL):
            baselines[int(etl_id)] = None
        elif status is not None:  # otherwise, its state could not be read at that time
            since = entry.get("started_at")
            baselines[int(etl_id)] = Baseline(status, parse_rfc3339(since if isinstance(since, str) else None))
    return baselines


def _run(
    options: Mapping[str, Any], policy: Policy, host: Host, baselines: Mapping[int, Baseline | None]
) -> dict[str, Any]:
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


def _by_last_result(api: HelixApi, targets: list[Target], options: Mapping[str, Any], deadline: float) -> list[Target]:
    looks = _looks(api, [target.etl_id for target in targets], options["max_parallel"], deadline)
    chosen = []
    for target, look in zip(targets, looks):
        if isinstance(look, HelixError):
            raise look
        if any(LAST_RESULTS[word](look) for word in options["last_result"]):
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


# -- etl_info ---------------------------------------------------------------------------------------------------------


def inform(options: Mapping[str, Any], host: Host) -> dict[str, Any]:
    """C(etl_info): the ETLs that are visible to this key, with their states.

    :raises HelixError: the list could not be read, or a name or id is not in it.
    """
    check_numbers(options)
    if any(options.get(option) is not None for option in SELECTORS):
        check_selection(options)
    api = connect(options, host.redactor, host.clock, options["max_parallel"])
    try:
        chosen = _chosen(options, api, host.warn)
        looks: list[EtlStatus | HelixError | None] = [None] * len(chosen)
        if options["gather_status"]:
            looks = list(_looks(api, [etl.etl_id for etl in chosen], options["max_parallel"], None))
        server = api.transport.server_time()
        now = host.clock.wall() if server is None else server
    finally:
        api.transport.close()
    entries = [_info_entry(etl, look, now) for etl, look in zip(chosen, looks)]
    bad = [entry for entry in entries if "error" in entry]
    result: dict[str, Any] = {"changed": False, "failed": bool(bad), "etls": entries, "summary": report.table(entries)}
    result["msg"] = f"{len(entries)} ETLs." if len(entries) != 1 else "1 ETL."
    if bad:
        ids = ", ".join(str(entry["etl_id"]) for entry in bad[:10])
        result["msg"] = (
            f"The state of {len(bad)} of {len(entries)} ETLs could not be read (ids {ids}"
            f"{', …' if len(bad) > 10 else ''}). {bad[0]['msg']}"
        )
        result["error"] = bad[0]["error"]
    return result


def _chosen(options: Mapping[str, Any], api: HelixApi, warn: Warn) -> list[Etl]:
    etls = api.list_etls()
    known = {etl.etl_id: etl for etl in etls}
    if all(options.get(option) is None for option in SELECTORS):
        excluded = _matching(options.get("exclude") or (), etls, "exclude", warn)
        return [etl for etl in etls if etl.etl_id not in excluded]
    targets = select(options, api, warn)
    missing = [target.etl_id for target in targets if target.etl_id not in known]
    if missing:
        raise EtlNotFoundError(
            f"There is no ETL with the id {', '.join(map(str, missing))}, or it is not visible to this key.",
            remedy="Check the ids in the console, and the task groups of the key.",
        )
    return [known[target.etl_id] for target in targets]


def _looks(api: HelixApi, ids: list[int], width: int, deadline: float | None) -> list[EtlStatus | HelixError]:
    def look(etl_id: int) -> EtlStatus | HelixError:
        try:
            return api.status(etl_id, deadline=deadline)
        except HelixError as error:
            return error

    if len(ids) < 2 or width < 2:
        return [look(etl_id) for etl_id in ids]
    from concurrent.futures import ThreadPoolExecutor  # threads are not needed for one ETL

    with ThreadPoolExecutor(max_workers=min(width, len(ids))) as pool:
        return list(pool.map(look, ids))


def _info_entry(etl: Etl, look: EtlStatus | HelixError | None, now: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "etl_id": etl.etl_id,
        "name": etl.name,
        "run_configurations": etl.run_configurations,
    }
    if isinstance(look, HelixError):
        entry.update(msg=look.sentence(), error=look.facts())
    elif look is not None:
        moment = look.moment
        entry.update(look.public(), kind=look.kind, executing=look.executing)
        entry["age_seconds"] = None if moment is None else max(0, int(now - moment))
    return entry
