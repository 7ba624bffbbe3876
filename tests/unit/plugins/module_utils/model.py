# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small pure model of the ETL service: no network, no threads, time from a fake clock.

It is written from the vendor's pages and not from the client. It knows the truth: which runs there really were, and
which requests it really carried out.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Any, Callable, NamedTuple, Optional, Union

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import TransportError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Answer
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import rfc3339
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    KEY,
    SECRET,
    Exchange,
    FakeClock,
    Task,
    answer,
    jwt,
    readable,
)

EXECUTING = ("RUNNING", "SERVICE_ON")
#: Holes and odd forms of a status.
FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no time": lambda data: {**data, "last_exec_ts": None},
    "a time that is none": lambda data: {**data, "last_exec_ts": "a while ago"},
    "another form": lambda data: {**data, "last_exec_ts": str(data["last_exec_ts"] or "").replace("Z", ".000+00:00")},
    "lower case": lambda data: {**data, "status": data["status"].lower()},
}
#: What can go wrong with one exchange, and whether the server may have carried it out before.
NOT_EXECUTED = ("no_connection", "429", "429_wait", "401", "403", "404", "400")
AMBIGUOUS = ("reset", "500", "502", "503", "504", "html", "shape", "empty", "slow", "moved")
FAULTS = NOT_EXECUTED + AMBIGUOUS


@dataclass
class Behaviour:
    """How one ETL behaves. Times in seconds."""

    kind: str = "batch"
    initial: Optional[str] = "ENDED"
    initial_exit: Optional[str] = "OK"
    initial_age: float = 7200.0
    #: A run that is under way at the beginning lasts so much longer.
    left: float = 60.0
    start_lag: float = 3.0
    duration: float = 20.0
    exit_code: Optional[str] = "OK"
    #: Looks in this time after the end show no exit code yet.
    exit_lag: float = 0.0
    stamp: str = "end"
    starts: bool = True
    stop_lag: Optional[float] = 2.0
    kill_lag: float = 1.0
    stopped_as: str = "ABORTED"
    #: A periodic ETL that waits starts by itself after this time.
    self_start: Optional[float] = None
    none_shape: str = "204"


@dataclass
class Run:
    """One execution that really took place."""

    started: float
    ended: Optional[float] = None
    exit_code: Optional[str] = None
    aborted: bool = False


@dataclass
class Etl:
    """One ETL of the model."""

    etl_id: int
    behaviour: Behaviour
    clock: FakeClock
    #: The server's clock is so many seconds ahead of ours.
    skew: float = 0.0
    state: Optional[str] = None
    exit_code: Optional[str] = None
    stamp: Optional[str] = None
    runs: list[Run] = field(default_factory=list)
    #: (seconds, state, exit code, time): what a replica that lags behind still shows.
    history: list[tuple[float, Optional[str], Optional[str], Optional[str]]] = field(default_factory=list)
    current: Optional[Run] = None
    #: (seconds, action): the requests that were carried out.
    executed: list[tuple[float, str]] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _count: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        b = self.behaviour
        self.state = b.initial
        if b.initial is not None:
            self.exit_code = None if b.kind == "service" else b.initial_exit
            self.stamp = rfc3339(self.clock.wall() + self.skew - b.initial_age)
        self._remember(-1e9)
        if b.initial == "RUNNING":
            self._begin(0.0, Run(0.0), b.left)
            self._remember(0.0)
        if b.initial == "WAITING" and b.self_start is not None:
            self._at(b.self_start, lambda t: self._begin(t, Run(t), b.duration))

    def _at(self, moment: float, event: Callable[[float], None]) -> None:
        self._events.append((moment, next(self._count), event))
        self._events.sort(key=lambda item: item[:2])

    def settle(self) -> None:
        """Let everything happen that is due by now."""
        while self._events and self._events[0][0] <= self.clock.elapsed:
            moment, _number, event = self._events.pop(0)
            event(moment)
            self._remember(moment)

    def _remember(self, moment: float) -> None:
        self.history.append((moment, self.state, self.exit_code, self.stamp))

    def somebody_else(self, moment: float, action: str) -> None:
        """Another client starts or kills a run at this moment."""
        if action == "run":
            self._at(moment, lambda t: self._begin(t, Run(t), self.behaviour.duration))
        else:
            self._at(moment, lambda t: self._halt(t, action))

    def _wall(self, moment: float) -> str:
        return rfc3339(self.clock.wall() + self.skew - self.clock.elapsed + moment)

    def _begin(self, moment: float, run: Run, lasts: float) -> None:
        if self.current is not None:
            return
        run.started = moment
        self.runs.append(run)
        self.current = run
        self.state = "RUNNING"
        if self.behaviour.stamp == "start":
            self.stamp = self._wall(moment)
        self._at(moment + lasts, lambda t: self._end(t, run, self.behaviour.exit_code, False))

    def _end(self, moment: float, run: Run, exit_code: Optional[str], aborted: bool) -> None:
        if run is not self.current:
            return
        self.current = None
        run.ended, run.exit_code, run.aborted = moment, exit_code, aborted
        if aborted:
            self.state = self.behaviour.stopped_as
        else:
            self.state = "WAITING" if self.behaviour.kind == "periodic" else "ENDED"
        self.exit_code = exit_code
        if self.behaviour.stamp == "end":
            self.stamp = self._wall(moment)
        if self.behaviour.exit_lag and not aborted:
            self.exit_code = None
            self._at(moment + self.behaviour.exit_lag, lambda t: self._show_exit(run))

    def _show_exit(self, run: Run) -> None:
        if self.current is None and self.runs[-1] is run:
            self.exit_code = run.exit_code

    def carry_out(self, action: str) -> int:
        """An accepted request. Gives the request id."""
        now, b = self.clock.elapsed, self.behaviour
        self.executed.append((now, action))
        service = b.kind == "service"
        if action in ("stop", "kill"):
            lag = b.kill_lag if action == "kill" else b.stop_lag
            if lag is not None:
                self._at(now + lag, lambda t: self._halt(t, action))
        elif b.starts and action == "run" and not service:
            self._at(now + b.start_lag, lambda t: self._begin(t, Run(t), b.duration))
        elif b.starts:
            self._at(now + b.start_lag, lambda t: self._arm())
        return -1 if service else 20000 + len(self.executed)

    def _arm(self) -> None:
        if self.current is None:
            self.state = "SERVICE_ON" if self.behaviour.kind == "service" else "WAITING"

    def _halt(self, moment: float, action: str) -> None:
        if self.state == "SERVICE_ON":
            self.state = "SERVICE_OFF"
        elif self.current is not None:
            self._end(moment, self.current, "ERROR", True)
        elif self.state == "WAITING" and action == "kill":
            self.state = "ENDED"

    def status(self, lag: float = 0.0, form: Optional[str] = None) -> Answer:
        """The state as a replica shows it that lags behind by so many seconds, in one of FORMS."""
        shown = [entry for entry in self.history if entry[0] <= self.clock.elapsed - lag]
        _moment, state, exit_code, stamp = shown[-1] if lag and shown else (0.0, self.state, self.exit_code, self.stamp)
        if state is None:
            shapes = {
                "204": answer(204),
                "null": answer(200, {"status": None, "task_id": self.etl_id, "exit_code": None, "last_exec_ts": None}),
                "empty": answer(200, {"status": "", "task_id": self.etl_id}),
                "absent": answer(200, {"task_id": self.etl_id}),
            }
            return shapes[self.behaviour.none_shape]
        data = {"status": state, "task_id": self.etl_id, "exit_code": exit_code, "last_exec_ts": stamp}
        return answer(200, FORMS[form](data) if form else data)

    @property
    def executing(self) -> bool:
        return self.state in EXECUTING

    def launches(self, *actions: str) -> int:
        return sum(1 for _moment, action in self.executed if action in actions)


@dataclass
class Model:
    """The service. C(handle) is what a FakeTransport wants.

    :param reads: what happens to the reads in turn: None or a fault.
    :param writes: the same for actions; (fault, executed) for those after which it is open.
    :param lags: how many seconds the replicas that answer the reads in turn lag behind.
    :param forms: one of FORMS for the reads in turn; None: the documented one.
    :param foreign: (seconds, action): what somebody else does.
    :param outage: (from, to, fault): everything fails in this time, logins too, and nothing is carried out.
    """

    clock: FakeClock
    behaviours: InitVar[dict[int, Behaviour]]
    reads: Sequence[Optional[str]] = ()
    writes: Sequence[Optional[tuple[str, bool]]] = ()
    outage: Optional[tuple[float, float, str]] = None
    refuse: tuple[str, ...] = ()
    token_life: float = 900.0
    skew: float = 0.0
    lags: tuple[float, ...] = (0.0,)
    forms: tuple[Optional[str], ...] = (None,)
    foreign: tuple[tuple[float, str], ...] = ()

    def __post_init__(self, behaviours: dict[int, Behaviour]) -> None:
        self.etls = {etl_id: Etl(etl_id, behaviour, self.clock, self.skew) for etl_id, behaviour in behaviours.items()}
        for etl in self.etls.values():
            for moment, action in self.foreign:
                etl.somebody_else(moment, action)
        self._reads, self._writes = list(self.reads), list(self.writes)
        # Replicas answer in turn.
        self._replicas = zip(itertools.cycle(self.lags or (0.0,)), itertools.cycle(self.forms or (None,)))
        self._tokens: dict[str, float] = {}
        #: The most ETLs that executed at the same time.
        self.widest = 0

    def handle(self, exchange: Exchange) -> Union[Answer, Exception]:
        self.clock.pass_by(0.05)
        for etl in self.etls.values():
            etl.settle()
        self.widest = max(self.widest, sum(etl.executing for etl in self.etls.values()))
        result = self._answer(exchange)
        if isinstance(result, Answer) and "date" not in result.headers:
            result.headers["date"] = formatdate(self.clock.wall() + self.skew, usegmt=True)
        return result

    def _answer(self, exchange: Exchange) -> Union[Answer, Exception]:
        if self.outage and self.outage[0] <= self.clock.elapsed < self.outage[1]:
            return self._fault(self.outage[2])
        if exchange.path.startswith("/ims/"):
            return self._log_in(exchange)
        token = exchange.headers.get("Authorization", "").partition("Bearer ")[2]
        if self._tokens.get(token, -1.0) < self.clock.elapsed:
            return answer(401)
        if exchange.path == "/opt/api/v1/backend/etls/":
            return answer(200, [{"etl_id": i, "name": f"etl-{i}", "run_configurations": []} for i in self.etls])
        etl_id, action = exchange.path.split("/")[-2:]
        etl = self.etls.get(int(etl_id))
        if etl is None:
            return answer(400, {"message": "ETL not found"})
        if action == "status":
            fault = self._reads.pop(0) if self._reads else None
            return self._fault(fault) if fault else etl.status(*next(self._replicas))
        return self._write(etl, action)

    def _write(self, etl: Etl, action: str) -> Union[Answer, Exception]:
        fault, executed = (self._writes.pop(0) if self._writes else None) or (None, True)
        if fault in NOT_EXECUTED:
            return self._fault(fault)
        if action in self.refuse:
            return answer(200, {"task_execution_request_id": 0, "request_status": "ERROR"})
        request_id = etl.carry_out(action) if executed else 0
        if fault:
            return self._fault(fault)
        return answer(200, {"task_execution_request_id": request_id, "request_status": "OK"})

    def _log_in(self, exchange: Exchange) -> Answer:
        if exchange.path.endswith("/auth/tokens"):
            return answer(404)
        if (exchange.payload["access_key"], exchange.payload["access_secret_key"]) != (KEY, SECRET):
            return answer(401)
        number = len(self._tokens) + 1
        token = jwt(number, exp=self.clock.wall() + self.skew + self.token_life)
        self._tokens[token] = self.clock.elapsed + self.token_life
        return answer(200, {"json_web_token": token, "token": f"refresh-token-number-{number}"})

    def _fault(self, fault: Optional[str]) -> Union[Answer, Exception]:
        lost: dict[str, dict[str, Any]] = {"no_connection": {}, "reset": {"maybe_done": True}}
        lost["slow"] = {"maybe_done": True, "kind": "timeout"}
        if fault in lost:
            self.clock.pass_by(30.0 if fault == "slow" else 0.0)
            told = f"No answer from https://helix.test ({fault})."
            return TransportError(told, transient=True, remedy="Try again in a moment.", **lost[fault])
        answers = {
            "429_wait": answer(429, Retry_After="20"),
            "html": answer(200, text="<html><title>Sign in</title></html>"),
            "shape": answer(200, {"state": "fine"}),
            # Nothing where a receipt is expected; for a status it would mean "no value", so reads get a list.
            "empty": answer(200, []),
            "moved": answer(302, Location="https://elsewhere.test/"),
        }
        if fault in answers:
            return answers[fault]
        return answer(int(fault or 0), text="")


OF_MODEL = {*inspect.signature(Model).parameters} - {"clock", "behaviours"}
OF_WORLD = {*OF_MODEL, *inspect.signature(Behaviour).parameters}


class World:
    """A model with one ETL, and tasks for it.

    Keywords are those of Behaviour and Model. C(before) gets each request, and C(look) the number of each status
    request after the model has answered it. An answer that they return takes the place of the model's.
    """

    def __init__(self, **keywords: Any) -> None:
        faults = {name: value for name, value in keywords.items() if name in OF_MODEL}
        behaviour = {name: value for name, value in keywords.items() if name not in OF_MODEL}
        self.clock = FakeClock()
        self.model = Model(self.clock, {321: Behaviour(**behaviour)}, **faults)
        self.etl = self.model.etls[321]
        self.before: Callable[[Exchange], Any] = lambda exchange: None
        self.look: Callable[[int], Any] = lambda number: None
        self.looks = 0
        self.task = Task(self._handle, self.clock)

    def _handle(self, exchange: Exchange) -> Union[Answer, Exception]:
        result = self.before(exchange) or self.model.handle(exchange)
        if exchange.path.endswith("/status"):
            self.looks += 1
            return self.look(self.looks) or result
        return result

    def act(self, action: str = "run", **options: Any) -> dict[str, Any]:
        """The entry of the ETL."""
        entry: dict[str, Any] = self.task.act(action=action, **options)["etl"]
        return entry

    def wait_for(self, baseline: Any = None, **options: Any) -> dict[str, Any]:
        """The entry of etl_wait, after the task with the result C(baseline)."""
        entry: dict[str, Any] = self.task.wait_for(baseline=baseline and baseline["etls"], **options)["etl"]
        return entry


# -- stories: an ETL, a task, and what the task may claim -------------------------------------------------------------


class Story(NamedTuple):
    """See C(story)."""

    end: str
    given: dict[str, Any]
    words: tuple[str, ...]
    facts: dict[str, Any]


def given(**keywords: Any) -> dict[str, Any]:
    """The world (keywords of Behaviour and Model) and the options of a task."""
    return keywords


def story(end: str, given: dict[str, Any], *words: str, **facts: Any) -> Story:
    """A row of a table.

    :param end: what the task claims (as C(claim)), and the requests that it sends: C(succeeded changed: run).
    :param words: they are in the message.
    :param facts: how many seconds it C(lasts) (or C(above), C(below)); words of a C(warning); C(without) some words;
        more C(lost) polls or C(renewed) tokens than so many; the kind of the C(error); the state that it C(was) in
        before; keys of the entry; and the hooks of World, which get the world, too.
    """
    return Story(end.rstrip(": "), given, words, facts)


def claim(entry: dict[str, Any]) -> str:
    """What an entry claims: the outcome, and which of these are true."""
    return " ".join([entry["outcome"], *(flag for flag in ("changed", "failed", "attached") if entry[flag])])


def check(told: Story) -> None:
    """Play the story, and compare."""
    w, facts = World(**{name: value for name, value in told.given.items() if name in OF_WORLD}), dict(told.facts)
    for name in {"look", "before"} & set(facts):
        setattr(w, name, partial(facts.pop(name), w))
    entry = w.act(**{name: value for name, value in told.given.items() if name not in OF_WORLD})
    assert ": ".join(filter(None, (claim(entry), " ".join(w.task.posts)))) == told.end, (told.given, entry["msg"])
    assert w.etl.launches("run", "schedule") <= 1
    readable(entry["msg"])
    for word in told.words:
        assert word in entry["msg"]
    warning = facts.pop("warning", None)
    assert bool(w.task.warnings) == bool(warning), w.task.warnings
    assert all(warning in text for text in w.task.warnings)
    assert facts.pop("without", "None") not in entry["msg"]
    above, below = facts.pop("lasts", (facts.pop("above", 0), facts.pop("below", 1e9)))
    assert above <= w.clock.elapsed <= below
    assert entry["lost_polls"] > facts.pop("lost", -1)
    assert entry["token_renewals"] > facts.pop("renewed", -1)
    assert ("error" in entry) == entry["failed"]
    more = {"was": entry["before"] and entry["before"]["status"], "error": None, **(entry.get("error") or {})}
    shown = {**more, **entry, "error": more.get("kind")}
    assert {key: shown[key] for key in facts} == facts
