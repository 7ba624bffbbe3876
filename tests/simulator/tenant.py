# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated tenant: access keys and tokens, ETLs, and the record of requests. `reset` starts from the beginning."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Optional
from weakref import WeakKeyDictionary

import jwt

from .client import SimulatorProcess
from .faults import FaultBook
from .model import Books, Clock, Etl, Execution, http_date, timestamp
from .settings import Fields, InputError, Seconds, Settings, check, is_integer

_REMEMBERED_REQUESTS = 20_000
_REFRESH_LIFE = 86_400


# --- keys and tokens --------------------------------------------------------------------------------------------------


_KEY: Fields = {
    "access_key": str,
    "secret": str,
    "grace": Seconds,  # seconds for which the old secret still works
    "active": bool,
    "expires_in": Optional[float],
    "permissions": list[Literal["read", "write"]],
    "revoke": bool,  # its tokens
}
_SCENARIO: Fields = {
    "config": dict[str, Any],
    "etls": list[dict[str, Any]],
    "keys": list[dict[str, Any]],
    "faults": list[dict[str, Any]],
}


@dataclass
class Key:
    access_key: str
    secret: str
    active: bool = True
    expires_at: float | None = None
    permissions: frozenset[str] = frozenset(("read", "write"))
    old_secrets: dict[str, float] = field(default_factory=dict)

    def is_valid(self, now: float) -> bool:
        return self.active and (self.expires_at is None or now < self.expires_at)

    def opens_with(self, secret: object, now: float) -> bool:
        return secret == self.secret or now < self.old_secrets.get(str(secret), 0)

    def shown(self) -> dict[str, Any]:
        visible = {name: vars(self)[name] for name in ("access_key", "active", "expires_at")}
        return {**visible, "permissions": sorted(self.permissions)}


@dataclass
class Token:
    serial: int
    key: Key
    expires_at: float


class Authority:
    """Issues tokens and keeps each, so that a manipulated token is not known."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        self.settings = settings
        self.tenant_id = identity.tenant_id
        self.keys = {identity.access_key: Key(identity.access_key, identity.access_secret_key)}
        self.jwts: dict[str, Token] = {}
        self.refreshes: dict[str, Token] = {}
        self._signing_key = secrets.token_bytes(32)
        self._serial = 0

    def login(self, body: Any, now: float) -> tuple[int, dict[str, Any]]:
        if not isinstance(body, dict):
            return 400, {"error": "The request body is not valid"}
        tenant_id = body.get("tenant_id")
        if tenant_id != self.tenant_id and (tenant_id is not None or self.settings.tenant_required):
            return 404, {"error": "Tenant not found"}
        key = self.keys.get(str(body.get("access_key")))
        if key is None or not key.opens_with(body.get("access_secret_key"), now) or not key.is_valid(now):
            return 401, {"error": "Invalid credentials"}
        return 200, {
            "json_web_token": self._issue_jwt(key, now),
            "token": self._issue_refresh(key, now),
            "user_id": "simulated-user",
            "tenant_id": self.tenant_id,
            "tenant_name": "Simulated tenant",
            "principal_id": key.access_key,
        }

    def refresh(self, body: Any, now: float) -> tuple[int, dict[str, Any]]:
        mode = self.settings.refresh_mode
        if mode == "absent":
            return 404, {"error": "Not found"}
        text = str(body.get("token")) if isinstance(body, dict) else ""
        token = self.refreshes.get(text)
        if mode == "refused" or token is None or now >= token.expires_at or not token.key.is_valid(now):
            return 401, {"error": "Invalid token"}
        answer = {"json_web_token": self._issue_jwt(token.key, now)}
        if mode == "rotates":
            del self.refreshes[text]
            answer["token"] = self._issue_refresh(token.key, now)
        return 200, answer

    def bearer(self, authorization: str | None, now: float) -> tuple[Token | None, bool]:
        """The token that was sent, if it is known, and whether it is valid now."""
        scheme, _space, text = (authorization or "").partition(" ")
        token = self.jwts.get(text) if scheme.lower() == "bearer" else None
        return token, token is not None and now < token.expires_at

    def revoke(self, *, refresh_too: bool = False, key: Key | None = None) -> None:
        for tokens in (self.jwts, self.refreshes) if refresh_too else (self.jwts,):
            for text in [text for text, token in tokens.items() if key in (None, token.key)]:
                del tokens[text]

    def change_key(self, given: object, now: float) -> Key:
        values = check(_KEY, given, "A key")
        name = values.get("access_key")
        if name is None:
            raise InputError("A key needs an 'access_key'.")
        key = self.keys.get(name)
        if key is None:
            if "secret" not in values:
                raise InputError("A new key needs a 'secret'.")
            key = self.keys[name] = Key(name, values["secret"])
        if values.get("secret", key.secret) != key.secret:
            key.old_secrets = {key.secret: now + values.get("grace", 0)}
            key.secret = values["secret"]
        key.active = values.get("active", key.active)
        if "expires_in" in values:
            key.expires_at = None if values["expires_in"] is None else now + values["expires_in"]
        key.permissions = frozenset(values.get("permissions", key.permissions))
        if values.get("revoke"):
            self.revoke(refresh_too=True, key=key)
        return key

    def _issue_jwt(self, key: Key, now: float) -> str:
        self._serial += 1
        shown = now + self.settings.clock_skew
        claims: dict[str, Any] = {"sub": "simulated-user", "tenant_id": self.tenant_id, "jti": str(self._serial)}
        if self.settings.jwt_exp:
            claims.update(iat=int(shown), exp=int(shown + self.settings.token_life))
        text = jwt.encode(claims, self._signing_key, algorithm="HS256")
        if self.settings.jwt_opaque:
            text = secrets.token_urlsafe(120)
        self.jwts[text] = Token(self._serial, key, now + self.settings.token_life)
        return text

    def _issue_refresh(self, key: Key, now: float) -> str:
        text = f"refresh-{secrets.token_urlsafe(40)}"
        self.refreshes[text] = Token(self._serial, key, now + _REFRESH_LIFE)
        return text


# --- the record -------------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """A request to the API, and its answer."""

    n: int
    time: float
    method: str
    path: str
    exchange: str
    etl_id: int | None
    write: bool
    accept: str | None
    content_type: str | None
    has_authorization: bool
    connection: int
    body: Any = None
    token_serial: int | None = None
    status: int | str | None = None
    accepted: bool = False
    fault: str | None = None


@dataclass
class Journal:
    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_REQUESTS))
    received: Counter[str] = field(default_factory=Counter)
    unauthorized: int = 0
    connections: int = 0
    _numbers: WeakKeyDictionary[Any, int] = field(default_factory=WeakKeyDictionary)

    def number_of(self, connection: Any) -> int:
        if connection is None:  # lost already
            return 0
        if connection not in self._numbers:
            self.connections += 1
            self._numbers[connection] = self.connections
        return self._numbers[connection]

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.received[entry.exchange] += 1


# --- everything together ----------------------------------------------------------------------------------------------


@dataclass
class Identity:
    """What a reset does not change."""

    access_key: str = SimulatorProcess.access_key
    access_secret_key: str = SimulatorProcess.access_secret_key
    tenant_id: str = SimulatorProcess.tenant_id
    speed: float = 1.0
    config: dict[str, Any] = field(default_factory=dict)
    permissions: list[str] = field(default_factory=lambda: ["read", "write"])
    scenario: dict[str, Any] = field(default_factory=dict)


class Tenant:
    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity()
        self.reset(self.identity.scenario)

    def reset(self, scenario: object) -> None:
        parts = check(_SCENARIO, scenario, "A scenario")
        self.clock = Clock(self.identity.speed)
        self.settings = Settings()
        self.authority = Authority(self.settings, self.identity)
        self.books = Books()
        self.etls: dict[int, Etl] = {}
        self.faults = FaultBook()
        self.journal = Journal()
        self.outage_until = 0.0
        self.outage_mode = "reset"
        self.configure({**self.identity.config, **parts.get("config", {})})
        for fields in parts.get("etls", []):
            etl_id = fields.get("id")
            if not is_integer(etl_id):
                raise InputError("An ETL of a scenario needs an 'id'.")
            self.put_etl(int(etl_id), {name: value for name, value in fields.items() if name != "id"})
        own_key = {"access_key": self.identity.access_key, "permissions": self.identity.permissions}
        for key in (own_key, *parts.get("keys", [])):
            self.authority.change_key(key, self.now())
        for rule in parts.get("faults", []):
            self.faults.add(rule)

    def configure(self, given: object) -> None:
        for name, value in check(Settings, given, "The configuration").items():
            setattr(self.settings, name, value)

    def now(self) -> float:
        return self.clock.now()

    def shown(self, moment: float | None) -> str | None:
        return None if moment is None else timestamp(moment + self.settings.clock_skew)

    def date(self) -> str | None:
        """The `Date` header."""
        if not self.settings.date_header:
            return None
        return (
            http_date(self.now() + self.settings.clock_skew)
            if self.settings.date_text is None
            else self.settings.date_text
        )

    def put_etl(self, etl_id: int, given: object) -> Etl:
        etl = self.etls[etl_id] = Etl(etl_id, self.books, given, self.now(), self.settings.clock_skew)
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
        behavior = asdict(etl.behavior)
        return {
            "id": etl.id,
            "name": behavior.pop("name"),
            "kind": behavior.pop("kind"),
            "state": etl.state,
            "exit_code": etl.exit_code,
            "last_exec_ts": self.shown(etl.last_exec),
            "executing": len(etl.running),
            "not_begun": len(etl.not_begun),
            "scheduled": etl.scheduled,
            **behavior,
        }

    def executions(self) -> list[dict[str, Any]]:
        self.advance_all()
        return [describe_execution(execution) for execution in self.books.executions]

    def counters(self) -> dict[str, Any]:
        self.advance_all()
        received = self.journal.received
        by_action = {action: received[action] for action in ("run", "schedule", "stop", "kill")}
        return {
            "requests": received.total(),
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


def describe_execution(execution: Execution) -> dict[str, Any]:
    """Its exit is not known until it ends."""
    return {**asdict(execution), **({"exit": None} if execution.ended_at is None else {})}
