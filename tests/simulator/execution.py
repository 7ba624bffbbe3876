# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records that ETLs keep."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

REMEMBERED_EXECUTIONS = 20_000
FIRST_REQUEST_ID = 21359


@dataclass(eq=False)
class Execution:
    """One execution, from the moment that it is accepted. `cause` is a request's number, "external" or "period"."""

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
    """What the server answers to run, schedule, stop or kill."""

    request_id: int = -1
    word: str | None = "OK"
    code: int = 200
    accepted: bool = True


@dataclass
class Books:
    """What all ETLs share: request numbers and the record of executions."""

    numbers: Iterator[int] = field(default_factory=lambda: count(FIRST_REQUEST_ID))
    executions: deque[Execution] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EXECUTIONS))
    launches: Counter[int] = field(default_factory=Counter)
    accepted: Counter[int] = field(default_factory=Counter)
