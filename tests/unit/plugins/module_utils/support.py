# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-ins for what the library talks to: a clock, a transport, tokens. No network, no real time."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import math
import re
import threading
from typing import Any, Callable, NamedTuple, Optional, Union
from unittest import mock
from urllib.parse import urlsplit

from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _actions, _run_files
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Answer, Clock, Transport
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._redaction import Redactor
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import parse_http_date
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._token import Credentials, TokenSource
from ansible_collections.capacityops.bmc_helix.plugins.modules import etl_action, etl_info, etl_wait

URL = "https://helix.test"
KEY, SECRET = "the-access-key-0123", "the-secret-key-that-nobody-may-see-0123456789"
#: 2027-01-15T08:00:00Z
WALL = 1800000000.0


def handed_over(name: str) -> dict[str, Any]:
    """What a module gives to HelixModule."""
    module = importlib.import_module(f"ansible_collections.capacityops.bmc_helix.plugins.modules.{name}")
    with mock.patch.object(module, "HelixModule", side_effect=SystemExit) as made, contextlib.suppress(SystemExit):
        module.main()
    keywords: dict[str, Any] = made.call_args.kwargs
    return keywords


def filled_in(name: str, **options: Any) -> dict[str, Any]:
    """The options of a module with their defaults, as Ansible fills them in."""
    spec = handed_over(name)["argument_spec"]
    return {**{option: facts.get("default") for option, facts in spec.items()}, "url": URL, **options}


ACT = filled_in("etl_action", action="run", etl_id=[321], details="full")
WAIT = filled_in("etl_wait", etl_id=[321], details="full")
INFO = filled_in("etl_info")


def readable(text: str) -> str:
    """A message about ETL 321 in whole sentences."""
    assert "321" in text
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b|[{}]|  |\.\.|\s\.|\( ", text), text
    assert text[0].isupper()
    assert text.endswith((".", "…")), text
    return text


class FakeClock(Clock):
    """Time passes only in sleep() and where a test says so. The threads of the engine sleep together.

    Time moves to the next end of a sleep when no thread has anything else to do. A thread that waits for a lock of one
    that sleeps cannot be told from a busy one, so time moves after a short real pause, too.
    """

    #: How many sleeps wait for real, and how long: the other threads may not have been started yet.
    first_sleeps, first_pause = 10, 0.002
    #: How many real pauses of 20 ms a thread that seems busy gets before time moves.
    patience = 4

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []
        self._changed = threading.Condition()
        self._sleeping: dict[threading.Thread, float] = {}
        self._sleeps = 0

    def now(self) -> float:
        return 5000.0 + self.elapsed

    def wall(self) -> float:
        return WALL + self.elapsed

    def sleep(self, seconds: float) -> None:
        assert math.isfinite(seconds)
        seconds = max(0.0, seconds)
        me = threading.current_thread()
        with self._changed:
            self.slept.append(seconds)
            ends = self.elapsed + seconds
            if not me.name.startswith("etl-"):
                self._pass(ends)
                return
            self._sleeping[me] = ends
            self._changed.notify_all()
            self._sleeps += 1
            if self._sleeps <= self.first_sleeps:
                self._changed.wait(self.first_pause)
            quiet = 0
            while self.elapsed < ends:
                if quiet > self.patience or not self._is_any_busy():
                    self._pass(max(self.elapsed, min(self._sleeping.values())))
                    self._sleeping = {t: end for t, end in self._sleeping.items() if end > self.elapsed}
                    self._changed.notify_all()
                    quiet = 0
                elif not self._changed.wait(0.02):
                    quiet += 1
            self._sleeping.pop(me, None)

    def _is_any_busy(self) -> bool:
        return any(t.name.startswith("etl-") and t not in self._sleeping for t in threading.enumerate())

    def _pass(self, target: float) -> None:
        self.elapsed = target

    def pass_by(self, seconds: float) -> None:
        with self._changed:
            self.elapsed += seconds


class Exchange(NamedTuple):
    """One request as the server would see it."""

    method: str
    path: str
    headers: dict[str, str]
    payload: Any


Handler = Callable[[Exchange], Union[Answer, Exception]]


class FakeTransport(Transport):
    """The real transport above a handler in place of the network: retries and the server's clock are real."""

    def __init__(
        self, handler: Handler, clock: Optional[Clock] = None, retries: int = 3, redactor: Optional[Redactor] = None
    ) -> None:
        self.clock = clock or FakeClock()
        self.redactor = redactor or Redactor()
        self.retries = retries
        self.closed = False
        self.exchanges: list[Exchange] = []
        self._handler = handler
        self._server_clock = None

    def close(self) -> None:
        self.closed = True

    def once(self, method: str, url: str, headers: Any, payload: Any = None) -> Answer:
        assert url.startswith(URL + "/")
        exchange = Exchange(method, urlsplit(url).path, dict(headers), payload)
        self.exchanges.append(exchange)
        answer = self._handler(exchange)
        if isinstance(answer, Exception):
            raise answer
        moment = parse_http_date(answer.headers.get("date"))
        if moment is not None:
            self._server_clock = (moment, self.clock.now())
        return answer

    @property
    def lines(self) -> list[str]:
        """The exchanges as "METHOD path"."""
        return [f"{exchange.method} {exchange.path}" for exchange in self.exchanges]


class Script:
    """A handler that answers the given things in turn, and the last one for ever."""

    def __init__(self, *answers: Union[Answer, Exception]) -> None:
        self._answers = list(answers)

    def __call__(self, exchange: Exchange) -> Union[Answer, Exception]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def answer(status: int = 200, data: Any = None, text: Optional[str] = None, **headers: str) -> Answer:
    """An answer with JSON, or with a text. Underscores in names of headers stand for dashes."""
    body = text if text is not None else "" if data is None else json.dumps(data)
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


def jwt(number: int = 1, **claims: Any) -> str:
    """An unsigned token; the number makes it unlike the others."""

    def part(data: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'n': number, **claims})}.c2lnbmF0dXJl"


def login_answer(number: int = 1, date: str = "", **claims: Any) -> Answer:
    data = {"json_web_token": jwt(number, **claims)}
    return answer(200, data, **({"Date": date} if date else {}))


def make_api(transport: FakeTransport) -> HelixApi:
    tokens = TokenSource(transport, URL, Credentials(access_key=KEY, access_secret_key=SECRET))
    return HelixApi(transport, tokens, URL)


class Task:
    """Runs the modules' work above a handler: options in, result out, no Ansible."""

    def __init__(self, handler: Handler, clock: FakeClock) -> None:
        self.clock = clock
        self.warnings: list[str] = []
        self.transports: list[FakeTransport] = []
        self._handler = handler

    def act(self, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        return self._run(etl_action.act, {**ACT, **options}, check_mode)

    def wait_for(self, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        return self._run(etl_wait.wait_for, {**WAIT, **options}, check_mode)

    def inform(self, **options: Any) -> dict[str, Any]:
        return self._run(etl_info.inform, {**INFO, **options}, False)

    def _run(self, work: Callable[..., dict[str, Any]], options: dict[str, Any], check_mode: bool) -> dict[str, Any]:
        channel = _run_files.Channel(None)
        host = _run_files.Host(Redactor(), self.clock, self.warnings.append, channel, check_mode, want_diff=True)
        with (
            mock.patch.object(_actions, "connect", self._connect),
            mock.patch.object(etl_info, "connect", self._connect),
        ):
            return work(options, host)

    def _connect(self, options: dict[str, Any], redactor: Redactor, clock: Clock, connections: int = 1) -> HelixApi:
        transport = FakeTransport(self._handler, clock, options["retries"], redactor)
        self.transports.append(transport)
        return make_api(transport)

    @property
    def lines(self) -> list[str]:
        return [line for transport in self.transports for line in transport.lines]

    @property
    def posts(self) -> list[str]:
        """The actions that were sent, without logins."""
        return [line.rpartition("/")[2] for line in self.lines if line.startswith("POST /opt/")]
