# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server says about an ETL, and what its words mean.

Private to this collection. Pure: no input, no output. The words are documented on the vendor's page "Obtaining the
status of the task by using API".
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._timefmt import parse_rfc3339

#: Shown where the server gives no value: never executed and never scheduled.
NEVER = "none"


class StateMeaning(NamedTuple):
    """What a state word means for the collection."""

    executing: bool
    service: bool


#: The documented words. Any other word is kept as it is and treated with care.
STATES: dict[str, StateMeaning] = {
    NEVER: StateMeaning(executing=False, service=False),
    "ENDED": StateMeaning(executing=False, service=False),
    "ABORTED": StateMeaning(executing=False, service=False),
    "WAITING": StateMeaning(executing=False, service=False),
    "RUNNING": StateMeaning(executing=True, service=False),
    "SERVICE_ON": StateMeaning(executing=True, service=True),
    "SERVICE_OFF": StateMeaning(executing=False, service=True),
}
#: States in which a batch run can be over. A periodic ETL that has finished is WAITING again, not ENDED.
OVER = frozenset(("ENDED", "ABORTED", "WAITING"))


class EtlStatus(NamedTuple):
    """One answer of C(GET …/status)."""

    state: str
    exit_code: str | None = None
    last_exec_ts: str | None = None

    @property
    def known(self) -> bool:
        return self.state in STATES

    @property
    def executing(self) -> bool:
        """Whether anything is known to execute. An unknown word counts as not known to execute."""
        return self.known and STATES[self.state].executing

    @property
    def at_rest(self) -> bool:
        """Whether it is known that nothing executes."""
        return self.known and not STATES[self.state].executing

    @property
    def kind(self) -> str:
        """C(service), C(batch) or C(unknown), as far as a state tells: ENDED, WAITING … exist for batch ETLs only."""
        if not self.known or self.state == NEVER:
            return "unknown"
        return "service" if STATES[self.state].service else "batch"

    def executed_since(self, before: EtlStatus) -> bool:
        """Whether the time of the last execution moved. A time that vanished says nothing."""
        if not self.last_exec_ts or self.last_exec_ts == before.last_exec_ts:
            return False
        mine, theirs = parse_rfc3339(self.last_exec_ts), parse_rfc3339(before.last_exec_ts)
        return mine is None or theirs is None or mine != theirs

    def public(self) -> dict[str, Any]:
        """The form in which results show it."""
        return {
            "status": None if self.state == NEVER else self.state,
            "exit_code": self.exit_code,
            "last_exec_ts": self.last_exec_ts,
        }

    def __str__(self) -> str:
        parts = [self.state]
        if self.exit_code:
            parts.append(f"exit {self.exit_code}")
        parts.append(f"last execution {self.last_exec_ts}" if self.last_exec_ts else "never executed")
        return ", ".join(parts)


def _word(value: Any) -> str | None:
    if value is None or isinstance(value, (dict, list)):
        return None
    # No word of the service is longer; what a hostile one sends is shown, but not at full length.
    return str(value).strip()[:60].rstrip() or None


def parse_status(data: Any) -> EtlStatus | None:
    """The status in decoded JSON; None where the shape is not that of a status.

    An empty body (HTTP 204), C(null), an empty word or an absent field all mean "no value".
    """
    if data is None:
        return EtlStatus(NEVER)
    if not isinstance(data, dict) or isinstance(data.get("status"), (dict, list)):
        return None
    # A JSON object with none of the documented fields is somebody else's answer.
    if data and not {"status", "exit_code", "last_exec_ts", "task_id"} & set(data):
        return None
    state = _word(data.get("status"))
    exit_code = _word(data.get("exit_code"))
    return EtlStatus(
        state=state.upper() if state else NEVER,
        exit_code=exit_code.upper() if exit_code else None,
        last_exec_ts=_word(data.get("last_exec_ts")),
    )


def from_public(data: dict[str, Any] | None) -> EtlStatus | None:
    """The status in a result entry (see C(EtlStatus.public)); None where it is none."""
    return None if data is None else parse_status(data)
