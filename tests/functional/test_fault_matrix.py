# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every exchange with the server goes wrong in every way; the verdict must be the truth, and nothing starts twice.

Each cell of the matrix is one whole run of `etl_action` with one fault in it. A cell is

    G  green: it happened, and the task says so
    F  failed, and certainly nothing was done
    U  failed, and it says that it cannot know what became of it
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional
from unittest import mock

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Transport
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import (
    RawServer,
    refusing_port,
)

from tests.functional.inprocess import Done, InProcess, SimulatedClock
from tests.functional.support import assert_no_secret

pytest_plugins = ("tests.functional.inprocess",)

ETL = 321
NAME = "Nightly import"
#: Real seconds. A slow answer takes longer than the client has patience.
PATIENCE, SLOW = 0.15, 0.3


@dataclass(frozen=True)
class Row:
    """An exchange, and a task in which it takes place.

    :param skip: how many requests of this sort pass before the fault.
    :param at: simulated second at which the fault is set, where a number of requests does not tell.
    """

    exchange: str
    action: str = "run"
    etl: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    skip: int = 0
    at: Optional[float] = None


RUNNING = {"state": "RUNNING", "duration": None}
SHORT_TOKENS = {"token_life": 40, "refresh_mode": "absent"}
ROWS = {
    "login": Row("login"),
    "login while waiting": Row("login", etl={"duration": 60}, config=SHORT_TOKENS, skip=1),
    "list": Row("list", options={"etl_name": NAME}),
    "status before": Row("status"),
    "POST run": Row("run"),
    "POST schedule": Row("schedule", "schedule"),
    "POST stop": Row("stop", "stop", etl=RUNNING),
    "POST kill": Row("kill", "kill", etl=RUNNING),
    "POST kill, waiting": Row("kill", "kill", etl={"state": "WAITING"}),
    "status, lag": Row("status", skip=1),
    "status, running": Row("status", at=4.0),
    "status, ended": Row("status", at=5.9),
    "status, scheduling": Row("status", "schedule", skip=1),
    "status, stopping": Row("status", "stop", etl=RUNNING, skip=1),
}
COLUMNS: dict[str, dict[str, Any]] = {
    "refused": {},
    "reset before": {"kind": "reset_before"},
    "reset after": {"kind": "reset_after"},
    "400": {"kind": "status", "code": 400, "body": {"error": "Bad request"}},
    "400 empty": {"kind": "status", "code": 400},
    **{f"{code}": {"kind": "status", "code": code} for code in (401, 403, 404, 429, 500, 502, 503, 504)},
    **{f"{code} Retry-After": {"kind": "status", "code": code, "retry_after": 7} for code in (429, 503)},
    **{f"done, {code}": {"kind": "accept_then_status", "code": code} for code in (500, 502, 504)},
    "done, 503 Retry-After": {"kind": "accept_then_status", "code": 503, "retry_after": 7},
    "HTML": {"kind": "html_200"},
    "done, HTML": {"kind": "html_200", "work": True},
    "cut JSON": {"kind": "cut_json"},
    "done, 42": {"kind": "wrong_shape"},
    "done, {}": {"kind": "wrong_shape", "body": {}},
    "done, []": {"kind": "wrong_shape", "body": []},
    "empty": {"kind": "status", "code": 200},
    "slow": {"kind": "slow", "seconds": SLOW},
    "done, slow": {"kind": "slow_after", "seconds": SLOW},
    "slow, nothing": {"kind": "slow_before_nothing", "seconds": SLOW},
    "login page": {"kind": "redirect", "location": "/login"},
    "other host": {"kind": "redirect"},
    "other host 307": {"kind": "redirect", "code": 307},
}

#: After these a read is tried again at once.
RETRIED = {
    *("refused", "reset before", "reset after", "cut JSON", "slow", "done, slow", "slow, nothing", "429"),
    *("429 Retry-After", "502", "503", "503 Retry-After", "504", "done, 502", "done, 503 Retry-After", "done, 504"),
}
#: Nothing was done, but the client cannot know that.
NOBODY_KNOWS = {
    *("reset before", "500", "502", "503", "503 Retry-After", "504", "HTML", "empty", "slow, nothing"),
    *("login page", "other host"),
}
#: Answers to a write that prove that it was not carried out, and that stay the same.
FINAL = {"400", "400 empty", "403", "404", "other host 307"}
#: An empty answer means that an ETL has no state, so that it never ran.
NO_STATE = {"empty", "done, {}"}


def expected_once(row_name: str, column: str) -> str:
    """The verdict after a single fault."""
    row = ROWS[row_name]
    if row_name == "login while waiting" and column == "401":
        return "U"  # the keys are refused: nobody can look any more
    if row.skip or row.at:
        return "G"  # a wait forgives what is lost
    if row.exchange in ("login", "list", "status"):
        fine = RETRIED | ({"401"} if row.exchange != "login" else set())
        fine |= NO_STATE if row.exchange == "status" else set()
        return "G" if column in fine else "F"
    if column in FINAL:
        return "F"
    if column in NOBODY_KNOWS and row.action in ("run", "schedule"):
        return "U"
    return "G"  # done, or certainly not done and sent again; stop and kill may be repeated in any case


@pytest.fixture(scope="session")
def trap() -> Iterator[RawServer]:
    """The other host of a redirect: remembers what came."""
    with RawServer(b"") as trap:
        yield trap


@contextlib.contextmanager
def refused_connections(row: Row, times: int, clock: SimulatedClock) -> Iterator[None]:
    """Send the requests of an exchange to a closed port: the kernel refuses them."""
    ending = "/etls/" if row.exchange == "list" else f"/{row.exchange}"
    counts = {"seen": 0, "hit": 0}
    once = Transport.once

    def sometimes(self: Transport, method: str, url: str, *arguments: Any) -> Any:
        if url.endswith(ending) and (row.at is None or clock.now() >= row.at):
            counts["seen"] += 1
            if counts["seen"] > row.skip and (times < 0 or counts["hit"] < times):
                counts["hit"] += 1
                url = f"http://127.0.0.1:{port}{ending}"
        return once(self, method, url, *arguments)

    with refusing_port() as port, mock.patch.object(Transport, "once", sometimes):
        yield
    assert counts["hit"] > 0, "the fault did not take place"


@dataclass
class Cell:
    column: str
    done: Done
    mine: list[dict[str, Any]]
    accepted: int
    truth: dict[str, Any]

    @property
    def verdict(self) -> str:
        if not self.done.failed:
            return "G"
        return "F" if self.done.outcome in (None, "failed") else "U"


def run_cell(library: InProcess, row: Row, column: str, times: int, trap: RawServer) -> Cell:
    control, clock = library.control, library.clock
    control.configure(**row.config)
    # A second run would be executed beside the first, or after it: each launch shows.
    etl = {"name": NAME, "state": "ENDED", "start_lag": 2, "duration": 4, "run_when_running": "parallel", **row.etl}
    control.put_etl(ETL, **etl)
    elsewhere = {"location": f"http://localhost:{trap.port}/"} if column.startswith("other host") else {}
    fault = {**COLUMNS[column], **elsewhere}
    slow = "slow" in column
    options = {
        "action": row.action,
        "etl_id": None if "etl_name" in row.options else ETL,
        "wait_timeout": 150,
        "start_timeout": 30,
        "request_timeout": PATIENCE if slow else 10,
        **row.options,
    }
    clock.linger = 2 * SLOW if slow and row.exchange in ("run", "schedule", "stop", "kill") else 0.0
    if column == "refused":
        with refused_connections(row, times, clock):
            done = library("etl_action", **options)
    else:
        set_fault = partial(control.fault, {"exchange": row.exchange}, fault, skip=row.skip, times=times)
        clock.at(row.at, set_fault) if row.at else set_fault()
        done = library("etl_action", **options)
        assert sum(rule["hits"] for rule in control.faults()) > 0, "the fault did not take place"
    if slow:
        time.sleep(SLOW)  # what the client gave up may still be carried out
    control.advance(60)
    mine = [e for e in control.executions(ETL) if isinstance(e["cause"], int)]
    return Cell(column, done, mine, control.counters()["accepted_by_etl"].get(ETL, 0), control.status(ETL))


def check_truth(cell: Cell, row: Row) -> None:
    """What must hold whatever goes wrong."""
    done, action = cell.done, row.action
    if action in ("run", "schedule"):
        assert cell.accepted <= 1, "it was asked for twice"
        assert len(cell.mine) <= 1, "it was started twice"
    if not done.failed:
        assert done.changed
        if action == "run":
            assert done.outcome == "succeeded"
            (execution,) = cell.mine
            assert execution["exit"] == "OK"
            assert execution["ended_at"] is not None
        elif action == "schedule":
            assert done.outcome == "scheduled"
            assert cell.truth["scheduled"]
        else:
            assert done.outcome == "stopped"
            assert cell.truth["executing"] == 0
            assert cell.truth["state"] != "WAITING"
    elif done.outcome in (None, "failed"):
        assert cell.accepted == 0, "it was started, and the task says that it was not"
        assert not done.changed
    elif done.outcome in ("not_started", "timed_out"):
        goes_on = cell.truth["executing"] > 0 or cell.truth["state"] == "WAITING"
        assert (goes_on and action in ("stop", "kill")) or cell.column in NO_STATE, "it says that nothing happened"
    else:
        assert done.outcome == "unconfirmed"


def check_words(cell: Cell) -> None:
    """A failure can be read and tells what to do."""
    done = cell.done
    if not done.failed:
        return
    message, error = done["msg"], done["error"]
    assert str(ETL) in message or NAME in message, message
    assert set(error) == {"kind", "http_status", "method", "path", "server_message", "remedy"}
    assert len(error["remedy"]) > 20
    assert error["remedy"] in message
    assert "<" not in message, message
    assert not any(word in message for word in ("Exception", "Errno", "object at", "None", "{}")), message
    if cell.accepted:
        assert "request" in message, message


TITLES = {1: "once", 3: "three times", -1: "for ever"}


def _is_tried(row: Row, column: str, times: int) -> bool:
    """A read does no work, so answers after the work and before it are the same; slow ones cost real time."""
    if row.exchange in ("list", "status") and column.startswith("done") and column[6:] in COLUMNS:
        return False
    if times != 1 and "slow" in column:
        return False
    return times != 3 or row.exchange in ("login", "run", "stop") or (row.exchange == "status" and not row.skip)


#: `make test` tries these faults, once each, in every exchange. The other cells are for `make test-all`.
QUICK = ("refused", "reset before", "reset after", "401", "429 Retry-After", "500", "done, 502", "done, HTML", "empty")


def _cells() -> list[Any]:
    return [
        pytest.param(
            *(row, column, times),
            id=f"{row}-{column}-{TITLES[times]}",
            marks=[] if times == 1 and column in QUICK else [pytest.mark.full],
        )
        for row in ROWS
        for column in COLUMNS
        for times in TITLES
        if _is_tried(ROWS[row], column, times)
    ]


@pytest.mark.parametrize(("row_name", "column", "times"), _cells())
def test_fault(row_name: str, column: str, times: int, library: InProcess, trap: RawServer) -> None:
    row = ROWS[row_name]
    cell = run_cell(library, row, column, times, trap)
    check_truth(cell, row)
    check_words(cell)
    assert_no_secret(json.dumps(cell.done.result), [library.simulator.access_secret_key])
    assert trap.requests == [], "something was sent to the other host"
    if times == 1:
        assert cell.verdict == expected_once(row_name, column), f"{cell.done.outcome}: {cell.done['msg']}"
