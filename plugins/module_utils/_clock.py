# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock that the library waits by; tests pass another one in.

Private to this collection.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """Monotonic time, wall time and sleep, all in seconds."""

    def now(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, UTC, as this machine believes."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


def rfc3339(epoch: float) -> str:
    """Whole seconds, UTC, C(Z): the form in which the server writes C(last_exec_ts)."""
    return (_EPOCH + timedelta(seconds=int(epoch))).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str | None) -> float | None:
    """Seconds since 1970 of an RFC 3339 time, or None where it is none. A time without zone counts as UTC."""
    if not text:
        return None
    cleaned = text.strip().replace("z", "Z").replace("Z", "+00:00")
    # Before Python 3.11 fromisoformat knows fractions of three or six digits only; whole seconds are enough here.
    head, dot, tail = cleaned.partition(".")
    if dot:
        cleaned = head + tail.lstrip("0123456789")
    if len(cleaned) > 5 and cleaned[-5] in "+-" and cleaned[-3] != ":":
        cleaned = cleaned[:-2] + ":" + cleaned[-2:]
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH).total_seconds()


def parse_http_date(text: str | None) -> float | None:
    """Seconds since 1970 of an HTTP C(Date) header, or None where it is none."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH).total_seconds()
