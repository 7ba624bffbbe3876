# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the API was asked and what it answered: the evidence of a test."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

REMEMBERED_REQUESTS = 20_000


@dataclass
class Entry:
    n: int
    time: float
    real_time: float
    method: str
    path: str
    exchange: str
    etl_id: int | None
    write: bool
    accept: str | None
    content_type: str | None
    user_agent: str | None
    has_authorization: bool
    connection: int
    body: Any = None
    token_serial: int | None = None
    status: int | str | None = None
    accepted: bool = False
    fault: str | None = None


@dataclass
class Journal:
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=REMEMBERED_REQUESTS))
    received: Counter[str] = field(default_factory=Counter)
    unauthorized: int = 0
    connections: int = 0
    count: int = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.received[entry.exchange] += 1

    def next_number(self) -> int:
        self.count += 1
        return self.count
