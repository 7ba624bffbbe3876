# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules' work, from options to results. Knows nothing of C(AnsibleModule).

Private to this collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _report as report
from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _select as select
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl, HelixApi, connect
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._batch import Batch
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import (
    EtlNotFoundError,
    HelixError,
    OptionError,
)
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import check_number, plain_properties
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._slices import CARRIED, Slice
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import EtlStatus, from_public
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._timefmt import parse_rfc3339

Warn = Callable[[str], None]
#: Above this many requests at a time no server is served better, and this one may be served worse.
MOST_PARALLEL = 100


def _check_times(options: Mapping[str, Any]) -> None:
    for name, lowest, above in (
        ("wait_timeout", 0, True),
        ("start_timeout", 0, True),
        ("poll_interval", 1, False),
        ("kill_after", 0, True),
        ("max_age", 0, True),
    ):
        check_number(name, options.get(name), lowest, above=above)
    check_number("max_parallel", options.get("max_parallel"), 1, highest=MOST_PARALLEL)


def _targets(options: Mapping[str, Any], api: HelixApi, warn: Warn) -> list[select.Target]:
    if options["etl_name"] is not None:
        names = options["etl_name"]
        try:
            etls = api.list_etls()
        except HelixError as error:
            raise report.unresolved(names, error) from None
        return select.by_name(names, etls, warn)
    return select.by_id(options["etl_id"], warn)


def _check_selection(options: Mapping[str, Any]) -> None:
    """Everything about the ETLs that can be wrong without asking the server."""
    if options["etl_name"] is not None:
        select.check_names(options["etl_name"])
    elif options["etl_id"] is not None:
        select.by_id(options["etl_id"], lambda text: None)
    else:
        raise OptionError("No ETL is named.", remedy="Give etl_id or etl_name.")


def act(
    options: Mapping[str, Any], *, check_mode: bool, want_diff: bool, redactor: Redactor, clock: Clock, warn: Warn
) -> dict[str, Any]:
    """C(etl_action): the result for one or several ETLs, with C(failed) where one of them failed.

    :raises HelixError: nothing was done.
    """
    _check_times(options)
    _check_selection(options)
    secret = plain_properties(
        options["secret_run_execution_properties"], "secret_run_execution_properties", secret=True
    )
    redactor.add(*secret.values())
    properties = plain_properties(options["run_execution_properties"], "run_execution_properties", warn=warn)
    policy = Policy(
        action=options["action"],
        check_mode=check_mode,
        retries=options["retries"],
        properties={**properties, **secret},
        **{
            name: options[name]
            for name in (
                "wait",
                "wait_timeout",
                "start_timeout",
                "poll_interval",
                "if_running",
                "max_age",
                "fail_on_warning",
                "on_timeout",
                "kill_after",
            )
        },
    )
    policy.check()
    return _run(options, policy, redactor, clock, warn, want_diff)


def wait_for(
    options: Mapping[str, Any], *, check_mode: bool, redactor: Redactor, clock: Clock, warn: Warn
) -> dict[str, Any]:
    """C(etl_wait): waits for executions that were started elsewhere. Sends no action.

    :raises HelixError: nothing could be looked at.
    """
    _check_times(options)
    _check_selection(options)
    baselines = _baselines(options["baseline"])
    policy = Policy(
        action="wait",
        until=options["until"],
        check_mode=check_mode,
        retries=options["retries"],
        **{name: options[name] for name in ("wait_timeout", "start_timeout", "poll_interval", "fail_on_warning")},
    )
    return _run(options, policy, redactor, clock, warn, False, baselines)


def _baselines(given: Sequence[Mapping[str, Any]] | None) -> dict[int, EtlStatus]:
    """Earlier entries, or their C(before) with an C(etl_id), as baselines.

    :raises OptionError: an item is neither.
    """
    baselines: dict[int, EtlStatus] = {}
    for item in given or ():
        if isinstance(item, Mapping) and "outcome" in item and item.get("before") is None:
            # An entry of an ETL whose state could not be read then.
            continue
        before = item.get("before", item) if isinstance(item, Mapping) else None
        status = from_public(dict(before)) if isinstance(before, Mapping) else None
        try:
            etl_id = int(item["etl_id"])
        except (KeyError, TypeError, ValueError):
            etl_id = 0
        if status is None or etl_id < 1:
            raise OptionError(
                "An item of baseline is not an entry of an earlier result.",
                remedy='Give the etls list that etl_action returned, for example baseline: "{{ started.etls }}".',
            )
        # What was fresh enough was not started: nobody waits for an execution newer than that.
        if item.get("outcome") != "fresh":
            baselines[etl_id] = status
    return baselines


def _run(
    options: Mapping[str, Any],
    policy: Policy,
    redactor: Redactor,
    clock: Clock,
    warn: Warn,
    want_diff: bool,
    baselines: Mapping[int, EtlStatus] | None = None,
) -> dict[str, Any]:
    part = Slice.from_options(options.get("_slice"), options.get("_slice_key"), clock)
    api = connect(options, redactor, clock, options["max_parallel"])
    try:
        if part and part.progress is not None:
            progress = part.progress
        else:
            progress = [Progress(target.etl_id, target.name) for target in _targets(options, api, warn)]
            for p in progress:
                given = (baselines or {}).get(p.etl_id)
                p.baseline = list(given) if given else None
        batch = Batch(api, policy, progress, clock, options["max_parallel"], part.elapsed if part else 0.0)
        _log_in_once(api, batch)
        if part is None or policy.check_mode or not policy.wait:
            batch.run()
        elif not batch.run(part.pause(progress, clock)):
            return {CARRIED: part.carry(progress, None, batch.now(), clock), "changed": False}
    finally:
        api.transport.close()
    for text in dict.fromkeys(text for p in progress for text in p.warnings):
        warn(text)
    return _result(progress, policy, want_diff)


def _log_in_once(api: HelixApi, batch: Batch) -> None:
    """Log in before the ETLs do it in parallel: a wrong key must not be tried once for each of them."""
    try:
        api.tokens.current()
    except HelixError as error:
        batch.give_up(error)


def _result(progress: Sequence[Progress], policy: Policy, want_diff: bool) -> dict[str, Any]:
    entries = [report.entry(p, policy) for p in progress]
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
    if want_diff:
        pairs = {f"ETL {p.etl_id}": report.diff(p, policy) for p in progress}
        if len(pairs) == 1:
            before, after = next(iter(pairs.values()))
            result["diff"] = {"before": before, "after": after}
        else:
            result["diff"] = {
                "before": {label: pair[0] for label, pair in pairs.items()},
                "after": {label: pair[1] for label, pair in pairs.items()},
            }
    return result


def inform(options: Mapping[str, Any], *, redactor: Redactor, clock: Clock, warn: Warn) -> dict[str, Any]:
    """C(etl_info): the ETLs that this key may see, with their states.

    :raises HelixError: the list could not be read, or a name or id is not in it.
    """
    check_number("max_parallel", options["max_parallel"], 1, highest=MOST_PARALLEL)
    if options["etl_id"] is not None or options["etl_name"] is not None:
        _check_selection(options)
    api = connect(options, redactor, clock, options["max_parallel"])
    try:
        chosen = _chosen(options, api.list_etls(), warn)
        looks: list[EtlStatus | HelixError | None] = [None] * len(chosen)
        if options["gather_status"]:
            looks = _looks(api, chosen, options["max_parallel"])
        server = api.transport.server_time()
        now = clock.wall() if server is None else server
    finally:
        api.transport.close()
    entries = [_info_entry(etl, look, now) for etl, look in zip(chosen, looks)]
    bad = [entry for entry in entries if "error" in entry]
    result: dict[str, Any] = {"changed": False, "failed": bool(bad), "etls": entries}
    result["msg"] = f"{len(entries)} ETLs." if len(entries) != 1 else "1 ETL."
    if bad:
        ids = ", ".join(str(entry["etl_id"]) for entry in bad[:10])
        result["msg"] = (
            f"The state of {len(bad)} of {len(entries)} ETLs could not be read (ids {ids}"
            f"{', …' if len(bad) > 10 else ''}). {bad[0]['msg']}"
        )
        result["error"] = bad[0]["error"]
    return result


def _chosen(options: Mapping[str, Any], etls: Sequence[Etl], warn: Warn) -> list[Etl]:
    known = {etl.etl_id: etl for etl in etls}
    if options["etl_id"] is not None:
        ids = [target.etl_id for target in select.by_id(options["etl_id"], warn)]
        missing = [etl_id for etl_id in ids if etl_id not in known]
        if missing:
            raise EtlNotFoundError(
                f"There is no ETL with the id {', '.join(map(str, missing))}, or this key may not see it.",
                remedy="Check the ids in the console, and the task groups of the key.",
            )
        return [known[etl_id] for etl_id in ids]
    if options["etl_name"] is not None:
        return [known[target.etl_id] for target in select.by_name(options["etl_name"], etls, warn)]
    if options["name_pattern"] is not None:
        return select.by_pattern(options["name_pattern"], etls)
    return list(etls)


def _looks(api: HelixApi, etls: Sequence[Etl], max_parallel: int) -> list[EtlStatus | HelixError | None]:
    def look(etl: Etl) -> EtlStatus | HelixError | None:
        try:
            return api.status(etl.etl_id)
        except HelixError as error:
            return error

    if len(etls) < 2 or max_parallel < 2:
        return [look(etl) for etl in etls]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(max_parallel, len(etls))) as pool:
        return list(pool.map(look, etls))


def _info_entry(etl: Etl, look: EtlStatus | HelixError | None, now: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "etl_id": etl.etl_id,
        "name": etl.name,
        "run_configurations": etl.run_configurations,
    }
    if isinstance(look, HelixError):
        entry.update(msg=look.sentence(), error=look.facts())
    elif look is not None:
        moment = parse_rfc3339(look.last_exec_ts)
        entry.update(look.public(), kind=look.kind, executing=look.executing)
        entry["age_seconds"] = None if moment is None else max(0, int(now - moment))
    return entry
