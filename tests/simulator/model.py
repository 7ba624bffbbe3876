# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ETLs and their time. Without input and output; callers pass the time.

Each ETL keeps a heap of events that are due. It is brought up to date when it is read, so nothing runs in the
background and time may jump.
"""

from __future__ import annotations

import email.utils
import heapq
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from typing import Any, Callable, NamedTuple

from .settings import Behavior, EtlFields, InputError, StartState, check, fields_of

_DAY = 86400
_REMEMBERED_EXECUTIONS = 20_000
_REMEMBERED_STATES = 1_000
_FIRST_REQUEST_ID = 21359
_FIRST_DATE = datetime(1, 1, 1, tzinfo=timezone.utc).timestamp()
_LAST_DATE = datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()
_STATE_OF_A_NEW_ONE = {"batch": None, "periodic": "WAITING", "service": "SERVICE_OFF"}
_STATES_WITH_HISTORY = ("ENDED", "ABORTED", "WAITING", "RUNNING")


class Clock:
    """Simulated time: starts at the real time, passes at a chosen speed, and can be moved forward."""

    def __init__(self, speed: float = 1.0) -> None:
        self._base = time.time()
        self._anchor = time.monotonic()
        self.speed = speed

    def now(self) -> float:
        return self._base + (time.monotonic() - self._anchor) * self.speed

    def set_speed(self, speed: float) -> None:
        self._base, self._anchor = self.now(), time.monotonic()
        self.speed = speed

    def advance(self, seconds: float) -> None:
        self._base += seconds


def calendar(moment: float) -> datetime:
    return datetime.fromtimestamp(max(_FIRST_DATE, min(moment, _LAST_DATE)), timezone.utc)


def timestamp(moment: float) -> str:
    """The documented form: RFC 3339 in UTC with whole seconds."""
    return calendar(moment).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def http_date(moment: float) -> str:
    return email.utils.format_datetime(calendar(moment), usegmt=True)


def parse_timestamp(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError as error:
        raise InputError(f"'{text}' is not a time such as 2026-01-31T23:59:59Z.") from error


class Seen(NamedTuple):
    """What a status request shows."""

    state: str | None
    exit_code: str | None
    last_exec: float | None


@dataclass(eq=False)
class Execution:
    """One execution, from its acceptance. `cause` is the number of a request, or "external"."""

    id: int
    etl_id: int
    cause: int | str
    properties: dict[str, str]
    accepted_at: float
    started_at: float | None = None
    due_at: float | None = None
    ended_at: float | None = None
    exit: str | None = None


@dataclass
class Outcome:
    """The response to run, schedule, stop, or kill."""

    request_id: int = -1
    word: str | None = "OK"
    code: int = 200
    accepted: bool = True


@dataclass
class Books:
    """What all ETLs share: request numbers and the record of executions."""

    numbers: Iterator[int] = field(default_factory=lambda: count(_FIRST_REQUEST_ID))
    executions: deque[Execution] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_EXECUTIONS))
    launches: Counter[int] = field(default_factory=Counter)
    accepted: Counter[int] = field(default_factory=Counter)


class Etl:
    def __init__(self, etl_id: int, books: Books, given: object, now: float, skew: float = 0) -> None:
        values = check(EtlFields, given, f"ETL {etl_id}")
        self.id = etl_id
        self.behavior = Behavior(**{name: value for name, value in values.items() if name not in fields_of(StartState)})
        self.behavior.name = self.behavior.name or f"ETL {etl_id}"
        self.state: str | None = values.get("state", _STATE_OF_A_NEW_ONE[self.behavior.kind])
        has_history = self.state in _STATES_WITH_HISTORY
        self.exit_code = values.get("exit_code", "OK" if has_history and self.state != "ABORTED" else None)
        self.last_exec = now - _DAY if has_history else None
        self.scheduled = False
        self.reads = 0
        self.running: list[Execution] = []
        self.not_begun: dict[int, Execution] = {}
        self._in_line: deque[Execution] = deque()
        self._held: list[Execution] = []
        self._exits: deque[str | None] = deque(self.behavior.exits)
        self._books = books
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._past: deque[tuple[float, Seen]] = deque(maxlen=_REMEMBERED_STATES)
        self._take_last_execution(values, now, skew)
        self._enter(self.state, now)
        self.advance(now)

    # --- set up by a test -----------------------------------------------------------------------------------------

    def _take_last_execution(self, values: dict[str, Any], now: float, skew: float) -> None:
        if "last_exec_ts" in values:
            text = values["last_exec_ts"]
            self.last_exec = None if text is None else parse_timestamp(text) - skew
        elif "last_exec_age" in values:
            age = values["last_exec_age"]
            self.last_exec = None if age is None else now - age

    def patch(self, given: object, now: float, skew: float = 0) -> None:
        values = check(EtlFields, given, f"ETL {self.id}")
        self.advance(now)
        self._take_last_execution(values, now, skew)
        for name, value in values.items():
            if name not in fields_of(StartState):
                setattr(self.behavior, name, value)
        if "exits" in values:
            self._exits = deque(values["exits"])
        if "exit_code" in values:
            self.exit_code = values["exit_code"]
        if "state" in values:
            for execution in self.running:
                execution.ended_at = now
            self.running.clear()
            self._cancel_not_begun()
            self._due.clear()
            self._enter(values["state"], now)
        if values.get("engine") == "active":
            for execution in self._held:
                self._at(now + self.behavior.start_lag, self._begin, execution)
            self._held.clear()
        self.advance(now)

    def _enter(self, state: str | None, now: float) -> None:
        self.scheduled = state == "WAITING"
        if state in ("RUNNING", "SERVICE_ON"):
            stamp = self.last_exec
            self._start_external(now, {})
            self.last_exec = stamp
        else:
            self.state = state

    # --- time -----------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            moment, _order, act = heapq.heappop(self._due)
            act(moment)
            self._note(moment)
        self._note(now)

    def _note(self, moment: float) -> None:
        seen = Seen(self.state, self.exit_code, self.last_exec)
        if not self._past or self._past[-1][1] != seen:
            self._past.append((moment, seen))

    def seen_at(self, moment: float) -> Seen:
        """What a replica shows that knows nothing after this moment."""
        return next((seen for at, seen in reversed(self._past) if at <= moment), self._past[0][1])

    def _at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._due, (moment, next(self._order), lambda at: act(at, *arguments)))

    # --- requests -------------------------------------------------------------------------------------------------

    def request(self, action: str, now: float, cause: int | str, properties: dict[str, str]) -> Outcome:
        self.advance(now)
        outcome = self._judge(action)
        if not outcome.accepted:
            return outcome
        behavior = self.behavior
        self._books.accepted[self.id] += 1
        number = next(self._books.numbers)
        outcome.request_id = -1 if behavior.kind == "service" else number
        kills = action == "kill" and behavior.kill_effect == "kills"
        if kills:
            self._cancel_not_begun()
        if action == "run" or (action == "schedule" and behavior.kind == "service"):
            if not (behavior.kind == "service" and self.running):
                execution = self.not_begun[number] = Execution(number, self.id, cause, properties, now)
                self._at(now + behavior.start_lag, self._begin, execution)
        elif behavior.engine != "inactive":
            if action == "schedule":
                self._at(now + behavior.schedule_lag, self._arm)
            elif action == "stop" and behavior.stop_effect == "stops":
                self._at(now + behavior.stop_lag, self._stop, list(self.running))
            elif kills:
                self._at(now + behavior.kill_lag, self._kill)
        self.advance(now)
        return outcome

    def _judge(self, action: str) -> Outcome:
        behavior = self.behavior
        if action in behavior.answers:
            word = behavior.answers[action]
            works = word != "ERROR" if behavior.answer_work is None else behavior.answer_work
            return Outcome(word=word, accepted=works)
        if action == "run" and self.state == "RUNNING" and behavior.run_when_running == "http_500":
            return Outcome(code=500, accepted=False)
        is_idle = not self.running and not self.not_begun and self.state != "WAITING"
        refused = (
            behavior.engine == "refuses"
            or (action == "run" and self.state == "RUNNING" and behavior.run_when_running == "error")
            or (action in ("run", "schedule") and self.state == "SERVICE_ON")
            or (action in ("stop", "kill") and is_idle and behavior.when_idle == "error")
        )
        return Outcome(word="ERROR", accepted=False) if refused else Outcome()

    # --- other clients --------------------------------------------------------------------------------------------

    def start(self, now: float, given: dict[str, Any]) -> None:
        """Another client (a person in the console, a program) starts it, immediately or `after` some seconds."""
        self.advance(now)
        if self.running and self.behavior.kind == "service":
            raise InputError(f"ETL {self.id} is a service that is already on.")
        self._at(now + given.get("after", 0), self._start_external, given)
        self.advance(now)

    def finish(self, now: float, given: dict[str, Any]) -> None:
        """Every execution ends, immediately or `after` some seconds."""
        self.advance(now)
        if not self.running and not given.get("after"):
            raise InputError(f"ETL {self.id} is not executing, so it cannot finish.")
        self._at(now + given.get("after", 0), self._finish_external, given)
        self.advance(now)

    def _start_external(self, now: float, given: dict[str, Any]) -> None:
        if not (self.running and self.behavior.kind == "service"):
            self._begin_now(now, Execution(next(self._books.numbers), self.id, "external", {}, now), given)

    def _finish_external(self, now: float, given: dict[str, Any]) -> None:
        for execution in list(self.running):
            self._end(now, execution, given.get("exit", execution.exit), given.get("state"))

    # --- events ---------------------------------------------------------------------------------------------------

    def _begin(self, now: float, execution: Execution) -> None:
        if execution.id not in self.not_begun:
            return
        if self.behavior.engine == "inactive":
            self._held.append(execution)
        elif self.running and self.behavior.kind == "service":
            del self.not_begun[execution.id]
        elif self.running and self.behavior.run_when_running != "parallel":
            # It was accepted before the other execution showed, so the server can no longer refuse it.
            self._in_line.append(execution)
        else:
            self._begin_now(now, execution, {})

    def _begin_now(self, now: float, execution: Execution, given: dict[str, Any]) -> None:
        behavior = self.behavior
        self.not_begun.pop(execution.id, None)
        execution.started_at = now
        self.running.append(execution)
        self._books.executions.append(execution)
        if isinstance(execution.cause, int):
            self._books.launches[self.id] += 1
        if behavior.kind == "service":
            self.state = "SERVICE_ON"
            return
        self.state = "RUNNING"
        if behavior.ts_semantics == "start":
            self.last_exec = now
        # Until it ends, this is its future exit.
        usual = self._exits.popleft() if self._exits and "exit" not in given else behavior.exit
        execution.exit = given.get("exit", usual)
        duration = given.get("duration", behavior.duration)
        if duration is not None:
            execution.due_at = now + duration
            self._at(execution.due_at, self._end, execution, execution.exit, None)

    def _end(self, now: float, execution: Execution, exit_code: str | None, state: str | None) -> None:
        if execution not in self.running:
            return
        self.running.remove(execution)
        execution.ended_at, execution.exit = now, exit_code
        if self.behavior.kind != "service":
            self.exit_code = exit_code
            if self.behavior.ts_semantics == "end":
                self.last_exec = now
        if not self.running:
            self.state = state or self._resting_state()
            if self._in_line:
                self._at(now + self.behavior.start_lag, self._begin, self._in_line.popleft())

    def _resting_state(self) -> str:
        if self.behavior.kind == "service":
            return "SERVICE_OFF"
        return "WAITING" if self.scheduled or self.behavior.kind == "periodic" else "ENDED"

    def _stop(self, now: float, executions: list[Execution]) -> None:
        for execution in executions:
            exit_code = None if self.behavior.kind == "service" else self.behavior.stop_exit
            self._end(now, execution, exit_code, self.behavior.stop_state)

    def _kill(self, now: float) -> None:
        self.scheduled = False
        for execution in list(self.running):
            self._end(now, execution, None, "SERVICE_OFF" if self.behavior.kind == "service" else "ABORTED")
        if self.state == "WAITING":
            self.state = "ENDED"

    def _cancel_not_begun(self) -> None:
        self.not_begun.clear()
        self._held.clear()
        self._in_line.clear()

    def _arm(self, now: float) -> None:
        self.scheduled = True
        if not self.running:
            self.state = "WAITING"
