# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The REST API without sockets: from a request to a response."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any, Callable

from .model import Etl, Seen, calendar, timestamp
from .settings import Settings
from .tenant import Entry, Tenant

LOGIN = "/ims/api/v1/access_keys/login"
REFRESH = "/ims/api/v1/auth/tokens"
ABOUT = ("/opt/api/agentdata/about", "/opt/api/v1/agentdata/about")
ETLS = "/opt/api/v1/backend/etls"
_ETL_CALL = re.compile(re.escape(ETLS) + r"/([^/]+)/(status|run|schedule|stop|kill)")
_JSON = "application/json"
_NOT_FOUND = {
    "json": (_JSON, b'{"error": "ETL not found"}'),
    "text": ("text/plain", b"ETL not found"),
    "empty": (_JSON, b""),
    "html": ("text/html", b"<!DOCTYPE html><html><body><h1>ETL not found</h1></body></html>"),
}
_TIME_FORMATS: dict[str, Callable[[float], Any]] = {
    "z": timestamp,
    "offset": lambda moment: timestamp(moment)[:-1] + "+00:00",
    "zone": lambda moment: calendar(moment).astimezone(timezone(timedelta(hours=2))).isoformat(timespec="seconds"),
    "fraction": lambda moment: calendar(moment).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z",
    "no_zone": lambda moment: timestamp(moment)[:-1],
    "space": lambda moment: timestamp(moment)[:-1].replace("T", " "),
    "epoch": int,
    "epoch_text": lambda moment: str(int(moment)),
    "epoch_ms": lambda moment: int(moment * 1000),
}


@dataclass
class Answer:
    status: int
    body: bytes = b""
    content_type: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """The meaning of an address."""

    exchange: str
    method: str = "GET"
    etl_id: int = -1

    @property
    def is_write(self) -> bool:
        return self.exchange in ("run", "schedule", "stop", "kill")


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def recognize(path: str) -> Call:
    found = _ETL_CALL.fullmatch(path)
    if found:
        # An id that is not a number is an ETL that does not exist; -1 never does.
        etl_id = int(found[1]) if re.fullmatch(r"[0-9]{1,18}", found[1]) else -1
        return Call(found[2], "GET" if found[2] == "status" else "POST", etl_id)
    if path in (ETLS, ETLS + "/"):
        return Call("list")
    if path in (LOGIN, REFRESH):
        return Call("login" if path == LOGIN else "refresh", "POST")
    return Call("about" if path in ABOUT else "unknown")


def perform(
    tenant: Tenant, call: Call, entry: Entry, headers: Mapping[str, str], body: bytes, lag: float | None = None
) -> Answer:
    """Carry the request out. `lag` is the delay, in seconds, of the replica that responds to a status request."""
    refusal = _refuse_form(tenant.settings, call, entry, body)
    if call.exchange == "unknown":
        return as_json({"error": "Not found"}, 404)
    if call.exchange in ("login", "refresh"):
        return refusal or _authenticate(tenant, call, entry, body)
    return _refuse_bearer(tenant, call, entry, headers) or refusal or _serve(tenant, call, entry, body, lag)


def _refuse_form(settings: Settings, call: Call, entry: Entry, body: bytes) -> Answer | None:
    if entry.method != call.method:
        return Answer(405, b'{"error": "Method not allowed"}', headers={"Allow": call.method})
    if settings.strict_accept and entry.accept != _JSON:
        error = {"code": "validation.request.accept.invalid", "message": "Invalid Accept header"}
        return as_json({"error": error}, 400)
    needs_type = settings.strict_content_type == "all" or (settings.strict_content_type == "bodies" and body)
    if needs_type and (entry.content_type or "").partition(";")[0].strip().lower() != _JSON:
        return as_json({"error": "Unsupported media type"}, 415)
    return None


def _authenticate(tenant: Tenant, call: Call, entry: Entry, body: bytes) -> Answer:
    work = tenant.authority.login if call.exchange == "login" else tenant.authority.refresh
    status, answer = work(parsed(body), tenant.now())
    entry.accepted = status == 200
    tenant.journal.unauthorized += status == 401
    return as_json(answer, status)


def _refuse_bearer(tenant: Tenant, call: Call, entry: Entry, headers: Mapping[str, str]) -> Answer | None:
    token, is_valid = tenant.authority.bearer(headers.get("Authorization"), tenant.now())
    entry.token_serial = token.serial if token else None
    if token is None or not is_valid:
        tenant.journal.unauthorized += 1
        return as_json({"error": "Unauthorized"}, 401)
    if ("write" if call.is_write else "read") not in token.key.permissions:
        return as_json({"error": "Forbidden"}, tenant.settings.forbidden_code)
    return None


def _serve(tenant: Tenant, call: Call, entry: Entry, body: bytes, lag: float | None) -> Answer:
    if call.exchange == "about":
        return as_json({"name": "agentdata", "version": "simulated"})
    if call.exchange == "list":
        return _list(tenant, entry)
    properties: dict[str, str] | None = {}
    if call.exchange in ("run", "schedule"):
        properties = _properties(tenant.settings.run_body, body)
    if properties is None or (call.exchange in ("stop", "kill") and body and tenant.settings.stop_body == "refused"):
        return as_json({"error": "Bad request: the body is not valid"}, 400)
    etl = tenant.etls.get(call.etl_id)
    if etl is None:
        content_type, text = _NOT_FOUND[tenant.settings.not_found_style]
        return Answer(tenant.settings.not_found_code, text, tenant.settings.not_found_type or content_type)
    if call.exchange == "status":
        etl.advance(tenant.now())
        etl.reads += 1
        lags = tenant.settings.replica_lag or [0]
        return _status(tenant, etl, etl.seen_at(tenant.now() - (lags[etl.reads % len(lags)] if lag is None else lag)))
    outcome = etl.request(call.exchange, tenant.now(), entry.n, properties)
    entry.accepted = outcome.accepted
    if outcome.code != 200:
        return as_json({"error": "Error"}, outcome.code)
    word = _shown_word(tenant.settings, tenant.settings.request_words, outcome.word)
    fields = {"task_execution_request_id": outcome.request_id, "request_status": word}
    return as_json(fields)


def _list(tenant: Tenant, entry: Entry) -> Answer:
    mode = tenant.settings.list_without_slash
    if entry.path.endswith("/") or mode == "served":
        return as_json([_list_item(etl) for etl in tenant.etls.values() if etl.behavior.listed])
    if mode == "redirect":
        return Answer(301, headers={"Location": ETLS + "/"})
    return as_json({"error": "Not found"}, 404)


def _list_item(etl: Etl) -> dict[str, Any]:
    configurations = etl.behavior.run_configurations
    if configurations is None:
        configurations = [{"name": "Default", "active": True, "run_configuration_id": 1000 + etl.id}]
    return {"name": etl.behavior.name, "etl_id": etl.id, "run_configurations": configurations}


def _status(tenant: Tenant, etl: Etl, seen: Seen) -> Answer:
    settings = tenant.settings
    if seen.state is None:
        return _no_status(etl.behavior.none_style or settings.none_style, etl.id, settings.status_code)
    fields = {
        "status": _shown_word(settings, settings.state_words, seen.state),
        "task_id": etl.id,
        "exit_code": _shown_word(settings, settings.exit_words, seen.exit_code),
        "last_exec_ts": _shown_time(settings, etl, seen.last_exec),
    }
    return as_json(fields, settings.status_code)


def _shown_word(settings: Settings, words: Mapping[str, str | None], word: str | None) -> str | None:
    shown = words.get(word, word) if word else word
    if not shown or settings.words_case == "as_is":
        return shown
    return shown.lower() if settings.words_case == "lower" else shown.title()


def _shown_time(settings: Settings, etl: Etl, moment: float | None) -> Any:
    if moment is None:
        return None
    forms = settings.time_format if isinstance(settings.time_format, list) else [settings.time_format]
    return _TIME_FORMATS[forms[etl.reads % len(forms)] if forms else "z"](moment + settings.clock_skew)


def _no_status(style: str, etl_id: int, status: int) -> Answer:
    if style in ("204_empty", "200_empty"):
        return Answer(int(style[:3]))
    if style == "null":
        return as_json(None, status)
    if style == "absent":
        return as_json({"task_id": etl_id}, status)
    blank = "" if style == "empty_string" else None
    return as_json({"status": blank, "task_id": etl_id, "exit_code": blank, "last_exec_ts": blank}, status)


def _properties(mode: str, body: bytes) -> dict[str, str] | None:
    """The properties of a run or schedule request; None if the body is not valid."""
    given = parsed(body) if body or mode != "lenient" else {}
    if not isinstance(given, dict) or (mode != "lenient" and "run_execution_properties" not in given):
        return None
    properties = given.get("run_execution_properties", {})
    if not isinstance(properties, dict) or not all(isinstance(value, str) for value in properties.values()):
        return None
    return None if mode == "filled" and not properties else properties
