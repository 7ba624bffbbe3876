# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that the pretend server knows, in one place; `reset` makes it new."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .auth import Authority
from .checks import InputError, as_object, check, is_integer, refuse_unknown
from .clock import Clock, timestamp
from .execution import Books, Execution
from .faults import FaultBook
from .journal import Entry, Journal
from .model import Etl
from .settings import Settings

ACCESS_KEY = "SIMULATEDACCESSKEY0123456789AB"
ACCESS_SECRET_KEY = "simulatedSecretKey0123456789abcdefghijklmnopqrstuv"
TENANT_ID = "1234567890"
SCENARIO_PARTS = ("config", "etls", "keys", "faults")
OUTAGE_MODES = ("reset", "503", "502")


@dataclass
class Identity:
    """What stays the same through a reset."""

    access_key: str = ACCESS_KEY
    access_secret_key: str = ACCESS_SECRET_KEY
    tenant_id: str = TENANT_ID
    speed: float = 1.0
    config: dict[str, Any] = field(default_factory=dict)
    scenario: dict[str, Any] = field(default_factory=dict)


class World:
    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity()
        self.reset(self.identity.scenario)

    def reset(self, scenario: object) -> None:
        parts = as_object(scenario, "A scenario")
        refuse_unknown(parts, SCENARIO_PARTS, "A scenario")
        identity = self.identity
        self.clock = Clock(identity.speed)
        self.settings = Settings()
        self.authority = Authority(self.settings, identity.access_key, identity.access_secret_key, identity.tenant_id)
        self.books = Books()
        self.etls: dict[int, Etl] = {}
        self.faults = FaultBook()
        self.journal = Journal()
        self.outage_until = 0.0
        self.outage_mode = "reset"
        self.configure({**identity.config, **as_object(parts.get("config", {}), "A scenario's 'config'")})
        for name in ("etls", "keys", "faults"):
            if not isinstance(parts.get(name, []), list):
                raise InputError(f"A scenario's '{name}' must be a list.")
        for etl in parts.get("etls", []):
            fields = dict(as_object(etl, "An ETL of a scenario"))
            etl_id = fields.pop("id", None)
            if not is_integer(etl_id):
                raise InputError("An ETL of a scenario needs an 'id'.")
            self.put_etl(etl_id, fields)
        for key in parts.get("keys", []):
            self.authority.change_key(key, self.now())
        for rule in parts.get("faults", []):
            self.faults.add(rule)

    def now(self) -> float:
        return self.clock.now()

    def shown(self, moment: float | None) -> str | None:
        return None if moment is None else timestamp(moment + self.settings.clock_skew)

    def configure(self, given: object) -> None:
        for name, value in check(Settings, given, "The configuration").items():
            setattr(self.settings, name, value)

    # --- ETLs -----------------------------------------------------------------------------------------------------

    def put_etl(self, etl_id: int, given: dict[str, Any]) -> Etl:
        etl = Etl(etl_id, self.books, given, self.now(), self.settings.clock_skew)
        self.etls[etl_id] = etl
        return etl

    def etl(self, etl_id: int) -> Etl:
        """The ETL, brought up to date."""
        if etl_id not in self.etls:
            raise InputError(f"There is no ETL {etl_id}.")
        etl = self.etls[etl_id]
        etl.advance(self.now())
        return etl

    def advance_all(self) -> float:
        now = self.now()
        for etl in self.etls.values():
            etl.advance(now)
        return now

    def describe(self, etl: Etl) -> dict[str, Any]:
        behaviour = asdict(etl.behaviour)
        return {
            "id": etl.id,
            "name": behaviour.pop("name"),
            "kind": behaviour.pop("kind"),
            "state": etl.state,
            "exit_code": etl.exit_code,
            "last_exec_ts": self.shown(etl.last_exec),
            "executing": len(etl.running),
            "not_begun": len(etl.not_begun),
            "scheduled": etl.scheduled,
            **behaviour,
        }

    def describe_execution(self, execution: Execution) -> dict[str, Any]:
        values = asdict(execution)
        if execution.ended_at is None:
            values["exit"] = None
        return values

    # --- what happened --------------------------------------------------------------------------------------------

    def start_outage(self, seconds: float, mode: object) -> None:
        if mode not in OUTAGE_MODES:
            raise InputError(f"An outage: 'mode' must be one of {', '.join(OUTAGE_MODES)}, not {mode!r}.")
        self.outage_until = self.now() + seconds
        self.outage_mode = str(mode)

    def describe_entry(self, entry: Entry) -> dict[str, Any]:
        return dict(vars(entry))

    def counters(self) -> dict[str, Any]:
        self.advance_all()
        received = self.journal.received
        by_action = {action: received[action] for action in ("run", "schedule", "stop", "kill")}
        return {
            "requests": self.journal.count,
            "logins": received["login"],
            "refreshes": received["refresh"],
            "lists": received["list"],
            "statuses": received["status"],
            "writes": sum(by_action.values()),
            "by_action": by_action,
            "accepted_by_etl": dict(self.books.accepted),
            "launches_by_etl": dict(self.books.launches),
            "unauthorized": self.journal.unauthorized,
            "connections": self.journal.connections,
        }
