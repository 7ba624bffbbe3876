# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ETLs. Pure: time is handed in, nothing is read or written.

Each ETL keeps a heap of things that are due ("begin", "end", ...). Whoever looks at it first brings it up to date,
so nothing runs in the background and time may jump.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Any, Callable

from .checks import InputError
from .clock import parse_timestamp
from .etl_settings import START_STATE_FIELDS, Behaviour, check_etl
from .execution import Books, Execution, Outcome

_DAY = 86400
_STATE_OF_A_NEW_ONE = {"batch": None, "periodic": "WAITING", "service": "SERVICE_OFF"}
_STATES_WITH_HISTORY = ("ENDED", "ABORTED", "WAITING", "RUNNING")


class Etl:
    def __init__(self, etl_id: int, books: Books, given: dict[str, Any], now: float, skew: float = 0) -> None:
        values = check_etl(given, etl_id)
        self.id = etl_id
        self.behaviour = Behaviour(**{k: v for k, v in values.items() if k not in START_STATE_FIELDS})
        self.behaviour.name = self.behaviour.name or f"ETL {etl_id}"
        self.state: str | None = None
        self.exit_code: str | None = None
        self.last_exec: float | None = None
        self.scheduled = False
        self.running: list[Execution] = []
        self.not_begun: dict[int, Execution] = {}
        self._in_line: deque[Execution] = deque()
        self._held: list[Execution] = []
        self._exits: deque[str | None] = deque(self.behaviour.exits)
        self._books = books
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._period_round = 0
        self._last_begin: float | None = None
        self._take_start_state(values, now, skew)

    # --- set up by a test -----------------------------------------------------------------------------------------

    def _take_start_state(self, values: dict[str, Any], now: float, skew: float) -> None:
        state = values.get("state", _STATE_OF_A_NEW_ONE[self.behaviour.kind])
        has_history = state in _STATES_WITH_HISTORY
        self.exit_code = values.get("exit_code", "OK" if has_history and state != "ABORTED" else None)
        self.last_exec = now - _DAY if has_history else None
        self._take_last_execution(values, now, skew)
        self._enter(state, now)

    def _take_last_execution(self, values: dict[str, Any], now: float, skew: float) -> None:
        if "last_exec_ts" in values:
            text = values["last_exec_ts"]
            self.last_exec = None if text is None else parse_timestamp(text) - skew
        elif "last_exec_age" in values:
            age = values["last_exec_age"]
            self.last_exec = None if age is None else now - age

    def patch(self, given: object, now: float, skew: float = 0) -> None:
        values = check_etl(given, self.id)
        self.advance(now)
        for name, value in values.items():
            if name not in START_STATE_FIELDS:
                setattr(self.behaviour, name, value)
        if "exits" in values:
            self._exits = deque(values["exits"])
        self._take_last_execution(values, now, skew)
        if "exit_code" in values:
            self.exit_code = values["exit_code"]
        if "state" in values:
            self._drop_everything(now)
            self._enter(values["state"], now)
        if values.get("engine") == "active":
            held, self._held = self._held, []
            for execution in held:
                self._at(now + self.behaviour.start_lag, self._begin, execution)

    def _drop_everything(self, now: float) -> None:
        for execution in self.running:
            execution.ended_at = now
        self.running.clear()
        self._cancel_not_begun()
        self._due.clear()

    def _enter(self, state: str | None, now: float) -> None:
        self.scheduled = state == "WAITING"
        if state in ("RUNNING", "SERVICE_ON"):
            stamp = self.last_exec
            self.start(now, {})
            self.last_exec = stamp
        else:
            self.state = state
            self._plan_next_period(now)

    # --- time -----------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            moment, _order, act = heapq.heappop(self._due)
            act(moment)

    def _at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._due, (moment, next(self._order), lambda at: act(at, *arguments)))

    # --- what somebody asks for -----------------------------------------------------------------------------------

    def request(self, action: str, now: float, cause: int | str, properties: dict[str, str]) -> Outcome:
        self.advance(now)
        outcome = self._judge(action)
        if not outcome.accepted:
            return outcome
        self._books.accepted[self.id] += 1
        number = next(self._books.numbers)
        if action == "run" or (action == "schedule" and self.behaviour.kind == "service"):
            self._launch(Execution(number, self.id, cause, properties, now))
        elif self.behaviour.engine == "inactive":
            pass
        elif action == "schedule":
            self._at(now + self.behaviour.schedule_lag, self._arm, cause, properties)
        elif action == "stop" and self.behaviour.stop_effect == "stops":
            self._at(now + self.behaviour.stop_lag, self._stop, list(self.running))
        elif action == "kill" and self.behaviour.kill_effect == "kills":
            self._at(now + self.behaviour.kill_lag, self._kill)
        if action == "kill" and self.behaviour.kill_effect == "kills":
            self._cancel_not_begun()
        self.advance(now)
        outcome.request_id = -1 if self.behaviour.kind == "service" else number
        return outcome

    def _judge(self, action: str) -> Outcome:
        behaviour = self.behaviour
        refused = Outcome(word="ERROR", accepted=False)
        if action in behaviour.answers:
            word = behaviour.answers[action]
            works = word != "ERROR" if behaviour.answer_work is None else behaviour.answer_work
            return Outcome(word=word, accepted=works)
        if behaviour.engine == "refuses":
            return refused
        if action == "run" and self.state == "RUNNING":
            if behaviour.run_when_running == "http_500":
                return Outcome(code=500, accepted=False)
            if behaviour.run_when_running == "error":
                return refused
        if action in ("run", "schedule") and self.state == "SERVICE_ON" and behaviour.run_when_service_on == "error":
            return refused
        is_idle = not self.running and not self.not_begun and self.state != "WAITING"
        if action in ("stop", "kill") and is_idle and behaviour.when_idle == "error":
            return refused
        return Outcome()

    def _launch(self, execution: Execution) -> None:
        if self.behaviour.kind == "service" and self.running:
            return
        self.not_begun[execution.id] = execution
        self._at(execution.accepted_at + self.behaviour.start_lag, self._begin, execution)

    def start(self, now: float, given: dict[str, Any]) -> Execution:
        """Somebody else (a person in the console, another program) starts it, at once."""
        self.advance(now)
        if self.running and self.behaviour.kind == "service":
            raise InputError(f"ETL {self.id} is a service that is already on.")
        execution = Execution(next(self._books.numbers), self.id, "external", {}, now)
        self._begin_now(now, execution, given)
        self.advance(now)
        return execution

    def finish(self, now: float, given: dict[str, Any]) -> None:
        """Whatever executes ends now."""
        self.advance(now)
        if not self.running:
            raise InputError(f"ETL {self.id} is not executing, so it cannot finish.")
        for execution in list(self.running):
            self._end(now, execution, given.get("exit", execution.exit), given.get("state"))
        self.advance(now)

    # --- what happens ---------------------------------------------------------------------------------------------

    def _begin(self, now: float, execution: Execution) -> None:
        if execution.id not in self.not_begun:
            return
        if self.behaviour.engine == "inactive":
            self._held.append(execution)
        elif self.running and self.behaviour.kind == "service":
            del self.not_begun[execution.id]
        elif self.running and self.behaviour.run_when_running != "parallel":
            # It was taken before the other execution showed, so the server can no longer refuse it.
            self._in_line.append(execution)
        else:
            self._begin_now(now, execution, {})

    def _begin_now(self, now: float, execution: Execution, given: dict[str, Any]) -> None:
        behaviour = self.behaviour
        self.not_begun.pop(execution.id, None)
        self._period_round += 1
        self._last_begin = execution.started_at = now
        self.running.append(execution)
        self._books.executions.append(execution)
        if isinstance(execution.cause, int):
            self._books.launches[self.id] += 1
        if behaviour.kind == "service":
            self.state = "SERVICE_ON"
            return
        self.state = "RUNNING"
        if behaviour.ts_semantics == "start":
            self.last_exec = now
        # Until it ends, this is the exit that it is going to have.
        execution.exit = given["exit"] if "exit" in given else self._next_exit()
        duration = given.get("duration", behaviour.duration)
        if duration is not None:
            execution.due_at = now + duration
            self._at(execution.due_at, self._end, execution, execution.exit, None)

    def _next_exit(self) -> str | None:
        return self._exits.popleft() if self._exits else self.behaviour.exit

    def _end(self, now: float, execution: Execution, exit_code: str | None, state: str | None) -> None:
        if execution not in self.running:
            return
        self.running.remove(execution)
        execution.ended_at = now
        execution.exit = exit_code
        if self.behaviour.kind != "service":
            self.exit_code = exit_code
            if self.behaviour.ts_semantics == "end":
                self.last_exec = now
        if not self.running:
            self.state = state or self.behaviour.end_state or self._resting_state()
            self._plan_next_period(now)
            if self._in_line:
                self._at(now + self.behaviour.start_lag, self._begin, self._in_line.popleft())

    def _resting_state(self) -> str:
        if self.behaviour.kind == "service":
            return "SERVICE_OFF"
        return "WAITING" if self.scheduled or self.behaviour.kind == "periodic" else "ENDED"

    def _stop(self, now: float, executions: list[Execution]) -> None:
        for execution in executions:
            exit_code = None if self.behaviour.kind == "service" else self.behaviour.stop_exit
            self._end(now, execution, exit_code, self.behaviour.stop_state)

    def _kill(self, now: float) -> None:
        behaviour = self.behaviour
        if self.running:
            self.scheduled = False
            stamp = self.last_exec
            usual_state = "SERVICE_OFF" if behaviour.kind == "service" else "ABORTED"
            for execution in list(self.running):
                self._end(now, execution, behaviour.kill_exit, behaviour.kill_state or usual_state)
            if not behaviour.kill_stamps:
                self.last_exec = stamp
        elif self.state == "WAITING":
            self.scheduled = False
            self._period_round += 1
            self.state = behaviour.kill_waiting_state

    def _cancel_not_begun(self) -> None:
        self.not_begun.clear()
        self._held.clear()
        self._in_line.clear()

    def _arm(self, now: float, cause: int | str, properties: dict[str, str]) -> None:
        self.scheduled = True
        if not self.running:
            self.state = "WAITING"
            self._plan_next_period(now, cause, properties)

    def _plan_next_period(
        self, now: float, cause: int | str = "period", properties: dict[str, str] | None = None
    ) -> None:
        self._period_round += 1
        if self.state == "WAITING" and self.behaviour.period > 0:
            since = now if self._last_begin is None else self._last_begin
            due = max(now, since + self.behaviour.period)
            self._at(due, self._period_came, self._period_round, cause, properties or {})

    def _period_came(self, now: float, period_round: int, cause: int | str, properties: dict[str, str]) -> None:
        if period_round == self._period_round and self.state == "WAITING" and self.behaviour.engine == "active":
            self._begin_now(now, Execution(next(self._books.numbers), self.id, cause, properties, now), {})
