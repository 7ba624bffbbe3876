# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States and their meaning, names, and times, as the server writes them.

Private to this collection. Without input and output. Source: the vendor's page "Obtaining the status of the task by
using API".
"""

from __future__ import annotations

import fnmatch
import math
import unicodedata
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

#: Shown if the server has no value: the ETL was never executed and never scheduled.
NEVER = "none"


#: The documented states. Any other state is kept as it is and counts as possibly active.
STATES = (NEVER, "ENDED", "ABORTED", "WAITING", "RUNNING", "SERVICE_ON", "SERVICE_OFF")
EXECUTING = frozenset(("RUNNING", "SERVICE_ON"))
SERVICE = frozenset(("SERVICE_ON", "SERVICE_OFF"))
#: States in which a batch run can be over. A periodic ETL that has finished is WAITING again, not ENDED.
OVER = frozenset(("ENDED", "ABORTED", "WAITING"))


class EtlStatus(NamedTuple):
    """One response to C(GET …/status)."""

    state: str
    exit_code: str | None = None
    last_exec_ts: str | None = None

    @property
    def known(self) -> bool:
        return self.state in STATES

    @property
    def executing(self) -> bool:
        """Whether the ETL is known to be executing. An unknown state does not count."""
        return self.state in EXECUTING

    @property
    def at_rest(self) -> bool:
        """Whether it is known that nothing executes."""
        return self.known and not self.executing

    @property
    def kind(self) -> str:
        """C(service), C(batch) or C(unknown). ENDED, WAITING, … exist for batch ETLs only."""
        if not self.known or self.state == NEVER:
            return "unknown"
        return "service" if self.state in SERVICE else "batch"

    @property
    def moment(self) -> float | None:
        """Seconds since 1970 of the last execution; None if there is no time or it cannot be parsed."""
        return parse_rfc3339(self.last_exec_ts)

    def executed_since(self, before: EtlStatus, since: float | None = None) -> bool:
        """Whether this status proves an execution that is newer than the baseline.

        A newer execution is later than the baseline's and not earlier than the request. A time that is missing or
        cannot be parsed proves nothing.

        :param since: seconds since 1970 of the request by the server's clock, if known. Times are whole seconds.
        """
        mine, theirs = self.moment, before.moment
        if mine is None or (since is not None and mine < math.floor(since)):
            return False
        if theirs is None:
            # Without a time at the baseline, any earlier run would look new, except for an ETL that had never run.
            return before.state == NEVER or (since is not None and before.state == "WAITING" and not before.exit_code)
        return mine > theirs

    def public(self) -> dict[str, Any]:
        """The status, as results show it."""
        return {
            "status": None if self.state == NEVER else self.state,
            "exit_code": self.exit_code,
            "last_exec_ts": self.last_exec_ts,
        }

    def __str__(self) -> str:
        ran = f"last run {self.last_exec_ts}" if self.last_exec_ts else "never ran" if self.state == NEVER else ""
        return ", ".join(filter(None, (self.state, self.exit_code and f"exit {self.exit_code}", ran)))


def _word(value: Any) -> str | None:
    if value is None or isinstance(value, (dict, list)):
        return None
    # The states of the service are shorter. Longer text from a hostile server is cut.
    return str(value).strip()[:60].rstrip() or None


def parse_status(data: Any) -> EtlStatus | None:
    """The status in decoded JSON, or in a result (C(EtlStatus.public)); None if it does not have the shape of a status.

    An empty body (HTTP 204), C(null), an empty text, or a missing field all mean "no value".
    """
    if data is None:
        return EtlStatus(NEVER)
    if not isinstance(data, dict) or isinstance(data.get("status"), (dict, list)):
        return None
    # A JSON object with none of the documented fields is the response of another service.
    if data and not {"status", "exit_code", "last_exec_ts", "task_id"} & set(data):
        return None
    state = _word(data.get("status"))
    exit_code = _word(data.get("exit_code"))
    return EtlStatus(
        state=state.upper() if state else NEVER,
        exit_code=exit_code.upper() if exit_code else None,
        last_exec_ts=_word(data.get("last_exec_ts")),
    )


# -- names ------------------------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """The form in which names are compared with patterns: NFC, without case, and without white space at the ends.

    White space, because Ansible splits "A, B" only at the comma.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern of C(*) and C(?). Brackets are literal: people tag names as C([PROD])."""
    return fnmatch.fnmatchcase(fold(name), fold(pattern).replace("[", "[[]"))


def columns(text: str) -> int:
    """How wide a terminal shows the text: letters of East Asia take two columns, combining marks take none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) in ("Mn", "Me", "Cf") for letter in text)


# -- times ------------------------------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def rfc3339(epoch: float) -> str:
    """Whole seconds, UTC, C(Z): the format of C(last_exec_ts). An invalid time becomes the nearest valid one."""
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
        # Runs are compared with this clock. With such a date, no run would be recognized.
        return _seconds(moment) if moment.year < 3000 else None
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


def _seconds(moment: datetime) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH).total_seconds()
