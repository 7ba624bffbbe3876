# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fault script: which requests fail, and how. `server` applies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from .settings import Fault, InputError, check, refuse_unknown

EXCHANGES = ("login", "refresh", "list", "status", "run", "schedule", "stop", "kill", "about", "unknown")
GROUPS = {
    "any": EXCHANGES,
    "auth": ("login", "refresh"),
    "api": ("list", "status", "run", "schedule", "stop", "kill", "about"),
    "read": ("list", "status"),
    "write": ("run", "schedule", "stop", "kill"),
}
_HTTP = ("code", "body", "content_type", "headers", "retry_after")

# kind: (whether the request is carried out, the parameters)
KINDS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "status": (False, _HTTP),  # answers `code` (503)
    "accept_then_status": (True, _HTTP),  # answers `code` (502), like a gateway that timed out
    "reset_before": (False, ()),  # resets the connection
    "reset_after": (True, ()),  # does the work, then resets the connection
    "slow": (True, ("seconds",)),  # waits, then does the work and answers
    "slow_after": (True, ("seconds",)),  # does the work, waits, then answers
    "slow_before_nothing": (False, ("seconds",)),  # waits, then closes the connection
    "cut_json": (True, ()),  # sends half of the announced body, then closes the connection
    "html_200": (False, ("body",)),  # a sign-in page with status 200, like a captive portal
    "wrong_shape": (True, ("code", "body")),  # answers `body` (42) as JSON
    "edit": (True, ("set", "drop")),  # answers with fields set or left out
    "stale": (True, ("seconds",)),  # a status answer from so many simulated seconds ago, like a replica that lags
    "redirect": (False, ("code", "location")),  # redirects (302) to `location`
    "raw": (True, ("text",)),  # writes `text` to the connection as it is and closes it
}
_RULE = {"match": dict[str, Any], "fault": dict[str, Any], "skip": int, "times": int}
_MATCH = {"exchange": Union[str, list[str]], "etl_id": Optional[int]}


@dataclass
class FaultRule:
    id: int
    exchanges: frozenset[str]
    etl_id: int | None
    fault: Fault
    given: dict[str, Any]
    hits: int = 0
    passed: int = 0

    @property
    def works(self) -> bool:
        """Whether the request is carried out."""
        return KINDS[self.fault.kind][0] if self.fault.work is None else self.fault.work

    @property
    def is_spent(self) -> bool:
        times: int = self.given.get("times", 1)
        return 0 <= times <= self.hits

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, **self.given, "hits": self.hits, "passed": self.passed, "spent": self.is_spent}


class FaultBook:
    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self._last_id = 0

    def add(self, given: object) -> FaultRule:
        values = check(_RULE, given, "A fault rule")
        match = check(_MATCH, values.get("match", {}), "A fault rule's 'match'")
        chosen = match.get("exchange", "any")
        exchanges = _exchanges(chosen if isinstance(chosen, list) else [chosen])
        self._last_id += 1
        rule = FaultRule(self._last_id, exchanges, match.get("etl_id"), _fault(values.get("fault", {})), values)
        self.rules.append(rule)
        return rule

    def remove(self, rule_id: int) -> None:
        left = [rule for rule in self.rules if rule.id != rule_id]
        if len(left) == len(self.rules):
            raise InputError(f"There is no fault rule {rule_id}.")
        self.rules = left

    def take(self, exchange: str, etl_id: int) -> FaultRule | None:
        """The first rule that hits this request; the rules before it that match and still skip count it."""
        for rule in self.rules:
            if rule.is_spent or exchange not in rule.exchanges or rule.etl_id not in (None, etl_id):
                continue
            if rule.passed >= rule.given.get("skip", 0):
                rule.hits += 1
                return rule
            rule.passed += 1
        return None


def _exchanges(names: list[str]) -> frozenset[str]:
    for name in names:
        if name not in (*GROUPS, *EXCHANGES):
            raise InputError(f"A fault rule: there is no exchange {name!r}; use {', '.join([*EXCHANGES, *GROUPS])}.")
    return frozenset(exchange for name in names for exchange in GROUPS.get(name, (name,)))


def _fault(given: object) -> Fault:
    values = check(Fault, given, "A fault")
    kind = values.get("kind")
    if kind not in KINDS:
        raise InputError(f"A fault needs a 'kind', one of {', '.join(KINDS)}, not {kind!r}.")
    refuse_unknown(values, ("kind", "work", *KINDS[kind][1]), f"The fault {kind}")
    return Fault(**values)
