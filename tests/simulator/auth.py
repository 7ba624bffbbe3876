# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access keys, JWTs and refresh tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import jwt

from .checks import InputError, as_object, is_number, refuse_unknown
from .settings import Settings

REMEMBERED_TOKENS = 10_000
_KEY_FIELDS = ("access_key", "secret", "grace", "active", "expires_in", "permissions", "revoke")


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
        return {
            "access_key": self.access_key,
            "active": self.active,
            "expires_at": self.expires_at,
            "permissions": sorted(self.permissions),
        }


@dataclass
class Token:
    serial: int
    key: Key
    expires_at: float


class Authority:
    """Issues tokens and knows which of them are good. It keeps every token it issued, so one that was tampered with
    is simply not among them."""

    def __init__(self, settings: Settings, access_key: str, secret: str, tenant_id: str) -> None:
        self.settings = settings
        self.tenant_id = tenant_id
        self.keys = {access_key: Key(access_key, secret)}
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
        """The token that was sent, if we know it, and whether it is good now."""
        scheme, _space, text = (authorization or "").partition(" ")
        token = self.jwts.get(text) if scheme.lower() == "bearer" else None
        return token, token is not None and now < token.expires_at

    def revoke(self) -> None:
        self.jwts.clear()
        self.refreshes.clear()

    def revoke_jwts(self) -> None:
        self.jwts.clear()

    def change_key(self, given: object, now: float) -> Key:
        values = as_object(given, "A key")
        refuse_unknown(values, _KEY_FIELDS, "A key")
        name = values.get("access_key")
        if not isinstance(name, str):
            raise InputError("A key needs an 'access_key'.")
        key = self.keys.get(name)
        if key is None and "secret" not in values:
            raise InputError("A new key needs a 'secret'.")
        _check_key(values)
        if key is None:
            key = self.keys[name] = Key(name, values["secret"])
        if values.get("secret", key.secret) != key.secret:
            key.old_secrets = {key.secret: now + values.get("grace", 0)}
            key.secret = values["secret"]
        key.active = values.get("active", key.active)
        if "expires_in" in values:
            key.expires_at = None if values["expires_in"] is None else now + values["expires_in"]
        key.permissions = frozenset(values.get("permissions", key.permissions))
        if values.get("revoke"):
            self.jwts = {text: token for text, token in self.jwts.items() if token.key is not key}
            self.refreshes = {text: token for text, token in self.refreshes.items() if token.key is not key}
        return key

    def _issue_jwt(self, key: Key, now: float) -> str:
        self._serial += 1
        expires_at = now + self.settings.token_life
        shown = now + self.settings.clock_skew
        claims: dict[str, Any] = {"sub": "simulated-user", "tenant_id": self.tenant_id, "jti": str(self._serial)}
        if self.settings.jwt_exp:
            claims.update(iat=int(shown), exp=int(shown + self.settings.token_life))
        if self.settings.jwt_opaque:
            text = secrets.token_urlsafe(120)
        else:
            text = jwt.encode(claims, self._signing_key, algorithm="HS256")
        _remember(self.jwts, text, Token(self._serial, key, expires_at))
        return text

    def _issue_refresh(self, key: Key, now: float) -> str:
        text = f"refresh-{secrets.token_urlsafe(40)}"
        _remember(self.refreshes, text, Token(self._serial, key, now + self.settings.refresh_life))
        return text


def _remember(tokens: dict[str, Token], text: str, token: Token) -> None:
    tokens[text] = token
    if len(tokens) > REMEMBERED_TOKENS:
        del tokens[next(iter(tokens))]


def _check_key(values: dict[str, Any]) -> None:
    for name in ("grace", "expires_in"):
        value = values.get(name)
        if value is not None and not is_number(value):
            raise InputError(f"A key: '{name}' must be a number of seconds, not {value!r}.")
    for name in ("active", "revoke"):
        if not isinstance(values.get(name, True), bool):
            raise InputError(f"A key: '{name}' must be true or false, not {values[name]!r}.")
    if not isinstance(values.get("secret", ""), str):
        raise InputError("A key: 'secret' must be text.")
    permissions = values.get("permissions", [])
    if not isinstance(permissions, list) or any(word not in ("read", "write") for word in permissions):
        raise InputError(f"A key: 'permissions' must be a list of read and write, not {permissions!r}.")
