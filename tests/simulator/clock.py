# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Simulated time: starts at the real time, runs at a chosen speed and can be pushed forward."""

from __future__ import annotations

import email.utils
import re
import time
from datetime import datetime, timezone

from .checks import InputError

_FIRST_DATE = datetime(1, 1, 1, tzinfo=timezone.utc).timestamp()
_LAST_DATE = datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()


class Clock:
    def __init__(self, speed: float = 1.0) -> None:
        self._base = time.time()
        self._anchor = time.monotonic()
        self._speed = speed

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> float:
        return self._base + (time.monotonic() - self._anchor) * self._speed

    def set_speed(self, speed: float) -> None:
        self._base, self._anchor = self.now(), time.monotonic()
        self._speed = speed

    def advance(self, seconds: float) -> None:
        self._base += seconds


def _within_calendar(moment: float) -> int:
    return int(max(_FIRST_DATE, min(moment, _LAST_DATE)))


def timestamp(moment: float) -> str:
    """The API's form: RFC 3339 in UTC with whole seconds."""
    date = datetime.fromtimestamp(_within_calendar(moment), timezone.utc)
    return f"{date.replace(tzinfo=None).isoformat()}Z"


def http_date(moment: float) -> str:
    return email.utils.formatdate(_within_calendar(moment), usegmt=True)


def parse_timestamp(text: str) -> float:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        raise InputError(f"'{text}' is not a time such as 2026-01-31T23:59:59Z.")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError as error:
        raise InputError(f"'{text}' is not a time: {error}.") from error
