# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress: tails the private file to which a module appends its events, and turns them into lines.

Private to this collection. The file also shows the module that the task still exists: this process holds a lock on it
and removes it at the end.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..module_utils._errors import HelixError
from ..module_utils._plan import describe_seconds
from ..module_utils._report import label

#: The prefix of the file names.
PREFIX = "bmc_helix-channel-"
#: Seconds between two reads of the file.
TICK = 0.4
#: The heartbeat slows from the first to the second value, in seconds. Some platforms end jobs without output.
FIRST_BEAT, LAST_BEAT = 10.0, 120.0
#: More ETLs than this share one line.
MOST_LINES = 3
#: The groups of that line, in this order.
ORDER = (
    "succeeded",
    "warning",
    "FAILED",
    "not tried",
    "done",
    "running",
    "requested",
    "waiting",
    "stopping",
    "unavailable",
    "queued",
)
_DONE = {"succeeded": "succeeded", "warning": "warning", "not_tried": "not tried"}
#: Outcomes without a run or a request, so without a time.
_AT_ONCE = ("nothing_to_do", "fresh", "not_tried", "would_run", "would_schedule", "would_stop", "would_kill")


class Tail:
    """The action plugin's end of the channel, as a context manager.

    :param folder: the private temporary folder of this run of Ansible.
    :param about: the first line, which describes the task to the module.
    :param show: displays one line.
    :param reporter: makes the lines.
    """

    def __init__(self, folder: str, about: Mapping[str, Any], show: Callable[[str], None], reporter: Reporter) -> None:
        self._show = show
        self._reporter = reporter
        self._stop = threading.Event()
        self._player = os.getppid()
        self._descriptor, self.path = tempfile.mkstemp(prefix=PREFIX, dir=folder)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        os.write(self._descriptor, (json.dumps(dict(about)) + "\n").encode())
        self._thread = threading.Thread(target=self._run, name="bmc_helix-progress", daemon=True)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The latest report of the module about each ETL."""
        return list(self._reporter.entries.values())

    def __enter__(self) -> Tail:
        # Only the main thread runs signal handlers, and only a signal to it wakes it, so this thread blocks all.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._stop.set()
        self._thread.join(5)
        if not isinstance(error, KeyboardInterrupt):  # otherwise, the main process reports it, see farewells()
            if error is not None:
                for line in self._reporter.farewell():
                    self._show(line)
            self._remove()
        os.close(self._descriptor)

    def _remove(self) -> None:
        """Signal the module that the task is over."""
        Path(self.path).unlink(missing_ok=True)

    def _run(self) -> None:
        with Path(self.path).open("rb") as file:
            file.readline()
            while True:
                is_last = self._stop.is_set()
                self._reporter.read(file)
                for line in self._reporter.lines(time.monotonic(), is_last=is_last):
                    self._show(line)
                if is_last:
                    return
                if os.getppid() != self._player:
                    self._remove()  # ansible-playbook has died
                    return
                self._stop.wait(TICK)


def farewells(folder: str) -> list[str]:
    """Runs that continue after Ctrl-C. The processes that followed them were killed, but their files remain."""
    lines = []
    for path in sorted(Path(folder).glob(f"{PREFIX}*")):
        try:
            with path.open("rb") as file:
                about = json.loads(file.readline())
                reporter = Reporter(hidden=bool(about["hidden"]))
                reporter.read(file)
        except (OSError, ValueError, KeyError):
            continue
        lines += reporter.farewell()
    return lines


class Reporter:
    """Turns events into lines.

    :param prefix: the beginning of each line.
    :param hidden: whether C(no_log) is set, so that neither names nor states may be shown.
    """

    def __init__(self, prefix: str = "  ", hidden: bool = False, now: float | None = None) -> None:
        self.entries: dict[int, dict[str, Any]] = {}
        self._prefix = prefix
        self._hidden = hidden
        self._began = time.monotonic() if now is None else now
        self._events: dict[int, Mapping[str, Any]] = {}
        self._shown: dict[int, str] = {}
        self._limit: float | None = None
        self._is_new = False
        self._beat = FIRST_BEAT
        self._last = self._began

    def read(self, file: Any) -> None:
        """Take all complete lines of the channel."""
        while True:
            start = file.tell()
            line = file.readline()
            if not line.endswith(b"\n"):
                file.seek(start)
                return
            try:
                self.take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # an incomplete line, because the disk was full

    def take(self, event: Mapping[str, Any]) -> None:
        """An event of the module."""
        if "entries" in event:
            self._limit = event["wait_timeout"]
            self.entries.update({entry["etl_id"]: entry for entry in event["entries"]})
            return
        entry = event["entry"]
        self.entries[entry["etl_id"]] = entry
        self._events[entry["etl_id"]] = {**event, "at": time.monotonic()}
        self._is_new = True

    def lines(self, now: float, *, is_last: bool = False) -> list[str]:
        """The lines to show now: changes, or a heartbeat."""
        beat = now - self._last >= self._beat and bool(self._events)
        if not (self._is_new or beat) or (len(self.entries) > MOST_LINES and now - self._last < 1.0 and not is_last):
            return []
        self._is_new = False
        if self._hidden:
            lines = [f"waiting ({_clock(now - self._began)}; no_log hides the rest)"] if beat else []
        elif len(self.entries) > MOST_LINES:
            lines = [self._counts(now)]
        else:
            lines = self._changes(now, beat)
        if lines:
            self._beat = min(self._beat * 1.5, LAST_BEAT) if beat else FIRST_BEAT
            self._last = now
        return [self._prefix + line for line in lines]

    def farewell(self) -> list[str]:
        """The line after an interrupt or a time limit: what was started."""
        begun = [event for event in self._events.values() if _is_begun(event["entry"])]
        if not begun:
            return []
        fates = [f"{_label(event['entry'])}: {_state(event)}" for event in begun[:10]]
        told = f"{len(begun)} ETLs" if self._hidden else "; ".join(fates)
        more = f"; and {len(begun) - 10} more" if len(begun) > 10 and not self._hidden else ""
        line = (
            f"{self._prefix}The task ended early. Addressed so far: {told}{more}. What is not over continues on the"
            " server; follow it with etl_wait, or stop it with etl_action and action: stop."
        )
        return [line]

    def _changes(self, now: float, beat: bool) -> list[str]:
        lines = []
        for etl_id, event in self._events.items():
            text = _state(event)
            is_done = event["entry"]["outcome"] is not None
            if not text or (self._shown.get(etl_id) == text and (is_done or not beat)):
                continue
            elapsed = event["elapsed"] + (0.0 if is_done else now - event["at"])
            self._shown[etl_id] = text
            time_word = f" after {describe_seconds(elapsed)}" if is_done else f" ({describe_seconds(elapsed)})"
            at_once = event["entry"]["outcome"] in _AT_ONCE
            lines.append(f"{_label(event['entry'])}: {text}{'' if at_once else time_word}")
        return lines

    def _counts(self, now: float) -> str:
        groups: dict[str, list[Mapping[str, Any]]] = {word: [] for word in ORDER}
        for etl_id, entry in self.entries.items():
            groups[_group(self._events.get(etl_id), entry)].append(entry)
        parts = []
        for word, members in groups.items():
            if members:
                named = f" ({_names(members)})" if word == "FAILED" else ""
                parts.append(f"{len(members)} {word}{named}")
        limit = f" of {_clock(self._limit)}" if self._limit else ""
        return f"[{_clock(now - self._began)}{limit}] {len(self.entries)} ETLs: {', '.join(parts)}"


def _is_begun(entry: Mapping[str, Any]) -> bool:
    return bool(entry["started_at"] or entry["attached"])


def _is_bad(entry: Mapping[str, Any]) -> bool:
    return bool(entry["failed"] and entry["outcome"] != "not_tried")


def _label(entry: Mapping[str, Any]) -> str:
    return label(entry["etl_id"], entry.get("etl_name"))


def _names(entries: Sequence[Mapping[str, Any]]) -> str:
    names = [" ".join(str(word) for word in (e["etl_id"], e.get("etl_name")) if word) for e in entries[:5]]
    return ", ".join(names) + (f", and {len(entries) - 5} more" if len(entries) > 5 else "")


def _group(event: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> str:
    if entry["outcome"] is not None:
        return "FAILED" if _is_bad(entry) else _DONE.get(entry["outcome"], "done")
    if event is None:
        return "queued"
    if event["lost"] >= 3:
        return "unavailable"
    phase = str(event["phase"])
    return {"unclear": "requested", "checking": "requested"}.get(phase, phase)


def _state(event: Mapping[str, Any]) -> str:
    """What to show of one ETL; empty if there is nothing to show."""
    entry, phase = event["entry"], event["phase"]
    if entry["outcome"] is not None:
        exit_code = (entry["after"] or {}).get("exit_code")
        ended = f" (exit {exit_code})" if entry["outcome"] in ("failed", "warning") and exit_code else ""
        word = entry["outcome"].replace("_", " ")
        return ("FAILED" if word == "failed" else f"FAILED ({word})" if _is_bad(entry) else word) + ended
    if event["lost"] >= 3:
        return f"status unavailable, {event['lost']} polls failed"
    state = (entry["after"] or {}).get("status")
    number = entry["task_execution_request_id"]
    accepted = f"request accepted{f' (id {number})' if number is not None else ''}"
    texts = {
        "requested": "following a run that was already requested" if entry["attached"] else accepted,
        "unclear": "the response to the request was lost",
        "waiting": "queued behind the run in progress",
        "stopping": f"{state or 'none'}, asked to stop",
        "running": f"{state or 'none'}, already running" if entry["attached"] else str(state or "none"),
    }
    started = phase in ("requested", "unclear")
    return texts.get(phase, "") + (", waiting for it to start" if started else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}" if minutes < 100 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def cut_off(entries: Sequence[dict[str, Any]], problem: HelixError) -> list[dict[str, Any]]:
    """Entries of a task whose module did not return a result: ETLs that were not done get an outcome and a reason.

    :param entries: unfinished and finished entries, as C(entry()) makes them.
    """
    result = []
    for e in entries:
        if e["outcome"] is None:
            begun = e["started_at"] is not None or e["attached"]
            what = "was started, and how it ended is not known" if begun else "was not started"
            msg = f"{label(e['etl_id'], e.get('etl_name'))} {what}: {problem.sentence()}"
            outcome = "unconfirmed" if begun else "failed"
            e = {**e, "outcome": outcome, "failed": True, "error": problem.facts(), "msg": msg}
        result.append(e)
    return result
