# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event source for the ETLs of a tenant of BMC Helix Continuous Optimization."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etl_events
short_description: Emit events when ETLs start, end, are late, or recover
description:
  - Polls the states of ETLs and compares each with the last one seen. Emits an event for each difference.
  - A poll that fails does not end the source. It tries again, at growing intervals, and emits one
    V(tenant_unreachable). Invalid options and rejected keys end it.
  - The C(guide_health) of the collection lists the events and their fields.
options:
  interval:
    description: The seconds between two polls, from 1 to 86400.
    type: float
    default: 60
  name_pattern:
    description: The ETLs to watch, as patterns in which only V(*) and V(?) are special. By default, all ETLs.
    type: list
    elements: str
  etl_id:
    description: The ids of ETLs to watch, in addition to O(name_pattern).
    type: list
    elements: int
  expectations:
    description:
      - As for the filter P(capacityops.bmc_helix.etl_health#filter). V(etl_late) needs O(expectations[].max_age).
    type: list
    elements: dict
  state_file:
    description:
      - A file for the last states, so that a restart emits no event twice and misses none. Its folder must exist.
      - By default, the source reports the problems that it finds when it starts, with C(initial) set to true.
    type: path
  max_parallel:
    description: The number of requests at the same time, from 1 to 100.
    type: int
    default: 8
notes:
  - The connection options and their environment variables are those of M(capacityops.bmc_helix.etl_info).
    Set secrets in the environment, not in the rulebook.
  - Needs C(ansible-core) and C(requests) in the Python environment of ansible-rulebook.
"""

EXAMPLES = r"""
- capacityops.bmc_helix.etl_events:
    interval: 60
    name_pattern: "[PROD]*"
    expectations:
      - name_pattern: "*nightly*"
        max_age: 26h
        labels: {team: capacity}
    state_file: /var/lib/eda/etl_events.json
"""

import asyncio
import json
import logging
import os
import random
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

# ansible-rulebook runs this file by its path, without the importer of Ansible.
if Path(__file__).absolute().parents[6].name == "ansible_collections":
    sys.path.insert(0, str(Path(__file__).absolute().parents[7]))

try:
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import Etl, HelixApi, connect
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import (
        base_url,
        connection_argument_spec,
    )
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import matches, parse_rfc3339, rfc3339
    from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils import _health as health
except ImportError as problem:
    raise ImportError(
        f"{problem}. The event source needs ansible-core, requests, and the collection capacityops.bmc_helix in the"
        f" Python environment of ansible-rulebook ({sys.executable})."
    ) from None

logger = logging.getLogger(__name__)

FORMAT = 1
#: Errors that another poll cannot fix.
FATAL = ("invalid_option", "missing_library", "authentication")
#: The longest pause between two polls of a tenant that cannot be reached.
LONGEST_PAUSE = 300.0
#: A day.
LONGEST_INTERVAL = 86400
#: A server can show the exit code and the time of a run a moment after its state.
SETTLE = 3.0

Level = dict[str, Any]
LEVEL = ("status", "exit_code", "last_exec_ts")


class Queue(Protocol):
    async def put(self, event: dict[str, Any]) -> None:
        """What ansible-rulebook passes in."""


class EventSourceError(Exception):
    """Ends the source, with a message for the user."""


async def main(queue: Queue, args: dict[str, Any]) -> None:
    """Called by ansible-rulebook; ends by an error or by being canceled."""
    source = await asyncio.to_thread(Source, {k: v for k, v in args.items() if k != "eda_feedback_queue"})
    try:
        await source.watch(queue)
    finally:
        source.close()


# -- what a difference means ------------------------------------------------------------------------------------------


def compare(old: Level | None, verdict: Mapping[str, Any]) -> tuple[list[str], Level]:
    """The events of one ETL, and the level to compare with next time. Pure."""
    new: Level = {key: verdict[key] for key in LEVEL}
    if old is None:
        new["problems"] = _problems(verdict)
        return _of_problems(new, [], [_ended(new)] if "failed" in new["problems"] else []), new
    moved = _moved(old, new)
    if new["status"] is None and old["status"]:
        # A run cannot disappear, so this response is ignored.
        return [], old
    if moved is False and old.get("older") != new["last_exec_ts"]:
        # An older time comes from a replica that lags. The second time, it is taken as it is.
        return [], {**old, "older": new["last_exec_ts"]}
    new["last_exec_ts"] = new["last_exec_ts"] or old["last_exec_ts"]
    if verdict["kind"] == "unknown":
        new["exit_code"] = new["exit_code"] or old["exit_code"]
    events = _of_run(old, new, bool(moved))
    new["problems"] = _problems(verdict)
    if "unknown" in verdict["findings"]:
        new["problems"] = sorted({*new["problems"], *old["problems"]})
    elif new["status"] == "RUNNING":
        # The exit code is that of the run before, so the failure lasts until a run ends.
        over = [name for name in events if name != "etl_started"]
        failed = "etl_failed" in over if over else "failed" in old["problems"]
        new["problems"] = sorted({*new["problems"], *(["failed"] if failed else [])})
    return _of_problems(new, old["problems"], events), new


def _of_problems(new: Level, before: list[str], events: list[str]) -> list[str]:
    fresh = [problem for problem in new["problems"] if problem not in before]
    if "unexpected_state" in fresh and not {"etl_failed", "etl_aborted"} & set(events):
        events.append("etl_failed")
    if "late" in fresh:
        events.append("etl_late")
    if before and not new["problems"]:
        events.append("etl_recovered")
    return events


def _moved(old: Level, new: Level) -> bool | None:
    """Whether the time of the last run is newer (True), older (False), or unknown (None)."""
    before, after = (parse_rfc3339(level["last_exec_ts"]) for level in (old, new))
    if after is None or after == before:
        return None
    return before is None or after > before


def _of_run(old: Level, new: Level, moved: bool) -> list[str]:
    was, now = old["status"], new["status"]
    began = now in ("RUNNING", "SERVICE_ON") and was != now
    over = now in ("ENDED", "WAITING", "ABORTED") and (
        was == "RUNNING" or moved or old["exit_code"] != new["exit_code"] or (now == "ABORTED" and was != now)
    )
    if now == "RUNNING" and moved and was in ("RUNNING", "WAITING", "ENDED", "ABORTED"):
        # With a server that stamps the start of a run, the time moves with the state, and the exit code does not.
        over, began = was == "RUNNING" or old["exit_code"] != new["exit_code"], True
    return [*([_ended(new)] if over else []), *(["etl_started"] if began else [])]


def _ended(level: Level) -> str:
    if level["status"] == "ABORTED":
        return "etl_aborted"
    return {"OK": "etl_succeeded", "WARNING": "etl_warning"}.get(level["exit_code"] or "", "etl_failed")


def _problems(verdict: Mapping[str, Any]) -> list[str]:
    words = {"failed": "failed", "stale": "late", "unexpected_state": "unexpected_state"}
    return sorted(words[word] for word in verdict["findings"] if word in words)


# -- the source -------------------------------------------------------------------------------------------------------


class Source:
    """One client, and the last level of each ETL. The methods that block run in a thread, one at a time."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        """Check the options and read the state file.

        :raises EventSourceError: they are not valid.
        """
        options = _options(args)
        self._stop = threading.Event()
        self._clock = Clock()
        self._interval: float = options["interval"]
        self._patterns, self._ids = options["name_pattern"] or [], options["etl_id"] or []
        self._parallel: int = options["max_parallel"]
        try:
            self._rules = health.parse_expectations(options["expectations"])
            self.url = base_url(options["url"], "url", options["allow_http"])
            self._api = connect(options, Redactor(), self._clock, self._parallel)
        except (HelixError, health.HealthError) as error:
            raise EventSourceError(error.sentence() if isinstance(error, HelixError) else str(error)) from None
        self._file = Path(options["state_file"]) if options["state_file"] else None
        self.state = self._load()
        self._save_or_fail()

    async def watch(self, queue: Queue) -> None:
        """Poll until the source ends.

        :raises EventSourceError: the keys were rejected, or another error is permanent.
        """
        failures = 0
        while True:
            try:
                verdicts = await asyncio.to_thread(self._poll)
            except HelixError as error:
                if error.kind in FATAL or (error.kind == "permission" and self.state["seen_at"] is None):
                    raise EventSourceError(error.sentence()) from None
                failures += 1
                logger.warning("Poll %d failed. %s", failures, error.sentence())
                pause = min(self._interval * 2 ** min(failures - 1, 20), max(self._interval, LONGEST_PAUSE))
                pause = max(pause * random.uniform(0.8, 1.2), min(error.retry_after or 0, 3600))  # noqa: S311
                await self._tell_reachable(queue, False, error)
            else:
                failures, pause = 0, self._interval
                await self._tell_reachable(queue, True)
                for verdict in verdicts:
                    await self._tell(queue, verdict)
            await asyncio.to_thread(self._save)
            await asyncio.sleep(pause)

    def close(self) -> None:
        """End a poll in progress soon, and save what was emitted."""
        self._stop.set()
        self._save()
        self._api.transport.close()

    async def _tell(self, queue: Queue, verdict: Mapping[str, Any]) -> None:
        key = str(verdict["etl_id"])
        old = self.state["etls"].get(key)
        names, new = compare(old, verdict)
        shown = ("etl_id", "name", "exit_code", "age_seconds", "labels", "severity", "verdict", "reasons")
        before, after = ({k: level[k] for k in LEVEL} if level else None for level in (old, new))
        for name in names:
            identity = (key, name, new["last_exec_ts"], new["exit_code"])
            event = {k: verdict[k] for k in shown}
            event.update(before=before, after=after, initial=old is None)
            await queue.put(self._event(name, identity, event))
        self.state["etls"][key] = new

    async def _tell_reachable(self, queue: Queue, reachable: bool, error: HelixError | None = None) -> None:
        since = self.state["seen_at"]
        if reachable != self.state["reachable"]:
            name = "tenant_reachable" if reachable else "tenant_unreachable"
            facts = {"since": since, "kind": error and error.kind, "msg": error and error.sentence()}
            await queue.put(self._event(name, (name, since), facts))
            self.state["reachable"] = reachable
        if reachable:
            self.state["seen_at"] = rfc3339(self._now)

    def _event(self, name: str, identity: tuple[Any, ...], facts: dict[str, Any]) -> dict[str, Any]:
        number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([self.url, *identity]))
        return {"type": name, "tenant": self.url, "time": rfc3339(self._now), **facts, "meta": {"uuid": str(number)}}

    # The following blocks.

    @property
    def _now(self) -> float:
        server = self._api.transport.server_time()
        return self._clock.wall() if server is None else server

    def _poll(self) -> list[dict[str, Any]]:
        # A new one each time, because it keeps the list. Connections and token are those of the first.
        api = HelixApi(self._api.transport, self._api.tokens, self.url)
        etls = [etl for etl in api.list_etls() if self._wanted(etl)]
        with ThreadPoolExecutor(max_workers=self._parallel) as pool:
            read = list(pool.map(lambda etl: self._read(api, etl), etls))
        errors = [item for item in read if isinstance(item, HelixError)]
        for error in errors:
            if error.kind in FATAL or len(errors) == len(etls):
                raise error
        if errors:
            logger.warning("%d of %d states were not read. %s", len(errors), len(etls), errors[0].sentence())
        now = self._now
        return [health.judge_one(item, self._rules, now) for item in read if isinstance(item, dict)]

    def _wanted(self, etl: Etl) -> bool:
        everything = not self._ids and not self._patterns
        return everything or etl.etl_id in self._ids or any(matches(text, etl.name) for text in self._patterns)

    def _read(self, api: HelixApi, etl: Etl) -> dict[str, Any] | HelixError | None:
        """None if the source is to end."""
        old = self.state["etls"].get(str(etl.etl_id)) or {}
        try:
            for last in (False, True):
                if self._stop.is_set():
                    return None
                status = api.status(etl.etl_id).public()
                settled = old.get("status") != "RUNNING" or any(status[k] != old[k] for k in LEVEL[1:])
                if last or status["status"] == "RUNNING" or settled:
                    break
                self._stop.wait(SETTLE)
        except HelixError as error:
            return error
        return {"etl_id": etl.etl_id, "name": etl.name, **status}

    def _load(self) -> dict[str, Any]:
        fresh = {"format": FORMAT, "url": self.url, "reachable": True, "seen_at": None, "etls": {}}
        if self._file is None or not self._file.exists():
            return fresh
        remedy = f"To start without it, remove {self._file}; events of the time in between are then lost."
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            for level in state["etls"].values():
                if not {*LEVEL, "problems"} <= set(level):
                    raise KeyError
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = str(error) if isinstance(error, OSError) else "it is not a state of this event source"
            raise EventSourceError(f"The state file {self._file} cannot be used: {why}. {remedy}") from None
        if (state.get("format"), state.get("url")) != (FORMAT, self.url) or not set(fresh) <= set(state):
            raise EventSourceError(
                f"The state file {self._file} is of format {state.get('format')} and tenant {state.get('url')},"
                f" not of format {FORMAT} and tenant {self.url}. {remedy}"
            )
        return {key: state[key] for key in fresh}

    def _save(self) -> None:
        try:
            self._save_or_fail()
        except EventSourceError as error:
            logger.warning("%s The source continues without it.", error)

    def _save_or_fail(self) -> None:
        if self._file is None:
            return
        draft = ""
        try:
            descriptor, draft = tempfile.mkstemp(dir=self._file.parent, prefix=f".{self._file.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
                json.dump(self.state, handle)
                handle.flush()
                os.fsync(handle.fileno())
            Path(draft).replace(self._file)
        except OSError as error:
            if draft:
                Path(draft).unlink(missing_ok=True)
            raise EventSourceError(f"The state file {self._file} cannot be written: {error.strerror}.") from None


def _options(args: Mapping[str, Any]) -> dict[str, Any]:
    spec = {
        **connection_argument_spec(),
        "interval": {"type": "float", "default": 60.0},
        "name_pattern": {"type": "list", "elements": "str"},
        "etl_id": {"type": "list", "elements": "int"},
        "expectations": {"type": "list", "elements": "dict"},
        "state_file": {"type": "path"},
        "max_parallel": {"type": "int", "default": 8},
    }
    strange = sorted(set(args) - set(spec))
    if strange:
        raise EventSourceError(
            f"Unknown options of etl_events: {', '.join(strange)}. Valid: {', '.join(sorted(spec))}."
        )
    result = ArgumentSpecValidator(spec).validate(dict(args))
    if result.error_messages:
        raise EventSourceError("Invalid options of etl_events: " + "; ".join(result.error_messages))
    options: dict[str, Any] = result.validated_parameters
    if not 1 <= options["interval"] <= LONGEST_INTERVAL:
        raise EventSourceError(
            f"The option interval is {options['interval']:g}, but must be from 1 to {LONGEST_INTERVAL}."
        )
    return options
