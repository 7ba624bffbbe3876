# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as text and back. Private to this collection. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def rfc3339(epoch: float) -> str:
    """Whole seconds, UTC, C(Z): the format of C(last_exec_ts). A time that no calendar has becomes the nearest one."""
    try:
        moment = _EPOCH + timedelta(seconds=int(epoch))
    except (OverflowError, ValueError):
        return "9999-12-31T23:59:59Z" if epoch > 0 else "0001-01-01T00:00:00Z"
    # Not strftime: it writes years before 1000 without leading zeros on some systems.
    return moment.replace(tzinfo=None).isoformat() + "Z"


def parse_rfc3339(text: str | None) -> float | None:
    """Seconds since 1970 of an RFC 3339 time, or None. A time without a time zone counts as UTC."""
    if not text:
        return None
    cleaned = text.strip().replace("z", "Z").replace("Z", "+00:00")
    # Before Python 3.11, fromisoformat parses only fractions of three or six digits; whole seconds are enough here.
    head, dot, tail = cleaned.partition(".")
    if dot:
        cleaned = head + tail.lstrip("0123456789")
    if len(cleaned) > 5 and cleaned[-5] in "+-" and cleaned[-3] != ":":
        cleaned = cleaned[:-2] + ":" + cleaned[-2:]
    try:
        return _seconds(datetime.fromisoformat(cleaned))
    except (OverflowError, ValueError):
        return None


def parse_http_date(text: str | None) -> float | None:
    """Seconds since 1970 of an HTTP C(Date) header, or None, also for a date in the far future."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # Runs are compared with this clock; with such a date, no run would ever be recognized.
        return _seconds(moment) if moment.year < 3000 else None
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


def _seconds(moment: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH).total_seconds()
