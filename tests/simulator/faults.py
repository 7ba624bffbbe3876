# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault script: which request is to go wrong, and how. Delivery is in `effects`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .checks import InputError, about, as_object, check, is_integer, refuse_unknown

EXCHANGES = ("login", "refresh", "list", "status", "run", "schedule", "stop", "kill", "about", "unknown")
GROUPS = {
    "any": EXCHANGES,
    "auth": ("login", "refresh"),
    "api": ("list", "status", "run", "schedule", "stop", "kill", "about"),
    "read": ("list", "status"),
    "write": ("run", "schedule", "stop", "kill"),
}
_HTTP = ("code", "body", "content_type", "headers", "retry_after", "retry_after_date")

# kind: (whether the request is carried out, the fields it takes, meaning)
KINDS: dict[str, tuple[bool, tuple[str, ...], str]] = {
    "status": (False, _HTTP, "Answers `code` (503); nothing is done"),
    "accept_then_status": (
        True,
        _HTTP,
        "Does the work, then answers `code` (502), as a gateway does that lost patience",
    ),
    "reset_before": (False, (), "Resets the connection; nothing is done"),
    "reset_after": (True, (), "Does the work, then resets the connection"),
    "slow": (True, ("seconds",), "Waits, then does the work and answers"),
    "slow_after": (True, ("seconds",), "Does the work, waits, then answers"),
    "slow_before_nothing": (False, ("seconds",), "Waits, then closes the connection; nothing is done"),
    "slow_body": (True, ("seconds", "chunks"), "Does the work, then lets the body drip for so long"),
    "cut_json": (True, (), "Does the work, then sends half of the body that it announced and closes"),
    "html_200": (False, ("body",), "A login page as HTML with status 200; nothing is done"),
    "wrong_shape": (True, ("code", "body"), "Does the work, then answers `body` (`42`) as JSON"),
    "huge": (False, ("code", "bytes", "gzip"), "An endless looking JSON body of so many bytes, without a length"),
    "redirect": (False, ("code", "location"), "Redirects (302) to `location`; nothing is done"),
    "echo_secrets": (False, ("code",), "Answers `code` (500) with all headers and the body of the request in it"),
    "raw": (True, ("text",), "Does the work, then writes `text` to the connection as it stands and closes it"),
}


@dataclass
class Fault:
    kind: str = field(default="status", metadata=about("text", "What goes wrong", choices=tuple(KINDS)))
    work: bool | None = field(
        default=None, metadata=about("boolean or null", "Whether the request is carried out; default: as the kind says")
    )
    code: int | None = field(default=None, metadata=about("integer or null", "HTTP status", minimum=200, maximum=599))
    body: Any = field(
        default=None, metadata=about("anything", "Body; text is sent as it stands, anything else as JSON")
    )
    content_type: str | None = field(
        default=None, metadata=about("text or null", "Content type of the body; default: JSON, or text for text")
    )
    headers: dict[str, str] = field(default_factory=dict, metadata=about("object", "More headers"))
    retry_after: int | None = field(default=None, metadata=about("integer or null", "`Retry-After` in seconds"))
    retry_after_date: int | None = field(
        default=None, metadata=about("integer or null", "`Retry-After` as a date so many seconds from now")
    )
    seconds: float = field(default=1, metadata=about("number", "Real seconds", minimum=0))
    chunks: int = field(default=10, metadata=about("integer", "Number of pieces of a dripping body", minimum=1))
    bytes: int = field(default=1 << 30, metadata=about("integer", "Size of a huge body", minimum=0))
    gzip: bool = field(
        default=False, metadata=about("boolean", "Send the huge body compressed (small on the wire, huge in memory)")
    )
    location: str = field(default="https://redirected.invalid/", metadata=about("text", "Where a redirect points to"))
    text: str = field(default="", metadata=about("text", "Bytes of a raw answer (Latin-1)"))

    @property
    def does_work(self) -> bool:
        return KINDS[self.kind][0] if self.work is None else self.work


@dataclass
class Rule:
    id: int
    exchanges: frozenset[str]
    etl_id: int | None
    fault: Fault
    given: dict[str, Any]
    skip: int = 0
    times: int = 1
    hits: int = 0
    passed: int = 0

    def matches(self, exchange: str, etl_id: int | None) -> bool:
        return exchange in self.exchanges and (self.etl_id is None or self.etl_id == etl_id)

    @property
    def is_spent(self) -> bool:
        return 0 <= self.times <= self.hits

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, **self.given, "hits": self.hits, "passed": self.passed, "spent": self.is_spent}


@dataclass
class FaultBook:
    rules: list[Rule] = field(default_factory=list)
    _last_id: int = 0

    def add(self, given: object) -> Rule:
        values = as_object(given, "A fault rule")
        refuse_unknown(values, ("match", "skip", "times", "fault"), "A fault rule")
        for name in ("skip", "times"):
            if not is_integer(values.get(name, 0)):
                raise InputError(f"A fault rule: '{name}' must be an integer, not {values[name]!r}.")
        match = as_object(values.get("match", {}), "A fault rule's 'match'")
        refuse_unknown(match, ("exchange", "etl_id"), "A fault rule's 'match'")
        if match.get("etl_id") is not None and not is_integer(match["etl_id"]):
            raise InputError(f"A fault rule: 'etl_id' must be an integer, not {match['etl_id']!r}.")
        rule = Rule(
            id=self._last_id + 1,
            exchanges=_exchanges(match.get("exchange", "any")),
            etl_id=match.get("etl_id"),
            fault=_fault(values.get("fault")),
            given=values,
            skip=values.get("skip", 0),
            times=values.get("times", 1),
        )
        self._last_id = rule.id
        self.rules.append(rule)
        return rule

    def remove(self, rule_id: int) -> None:
        if not any(rule.id == rule_id for rule in self.rules):
            raise InputError(f"There is no fault rule {rule_id}.")
        self.rules = [rule for rule in self.rules if rule.id != rule_id]

    def take(self, exchange: str, etl_id: int | None) -> Rule | None:
        """The first rule that hits this request; the rules before it that match and still skip count it."""
        for rule in self.rules:
            if rule.is_spent or not rule.matches(exchange, etl_id):
                continue
            if rule.passed < rule.skip:
                rule.passed += 1
                continue
            rule.hits += 1
            return rule
        return None


def _exchanges(given: object) -> frozenset[str]:
    names = given if isinstance(given, list) else [given]
    chosen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name not in (*GROUPS, *EXCHANGES):
            raise InputError(f"A fault rule: there is no exchange {name!r}; use {', '.join([*EXCHANGES, *GROUPS])}.")
        chosen.update(GROUPS.get(name, (name,)))
    return frozenset(chosen)


def _fault(given: object) -> Fault:
    values = check(Fault, given, "A fault")
    kind = values.get("kind")
    if kind is None:
        raise InputError(f"A fault needs a 'kind': one of {', '.join(KINDS)}.")
    refuse_unknown(values, ("kind", "work", *KINDS[kind][1]), f"A fault of kind {kind}")
    for name, value in values.get("headers", {}).items():
        if not isinstance(value, str) or not f"{name}{value}".isprintable():
            raise InputError(f"A fault: the header '{name}' must be one line of text, not {value!r}.")
    return Fault(**values)
