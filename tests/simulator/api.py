# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The REST API itself, without sockets: a request in, an answer out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .journal import Entry
from .model import Etl
from .world import World

LOGIN = "/ims/api/v1/access_keys/login"
REFRESH = "/ims/api/v1/auth/tokens"
ABOUT = ("/opt/api/agentdata/about", "/opt/api/v1/agentdata/about")
ETLS = "/opt/api/v1/backend/etls"
_ETL_CALL = re.compile(re.escape(ETLS) + r"/([^/]+)/(status|run|schedule|stop|kill)")
_WRITES = ("run", "schedule", "stop", "kill")
_JSON = "application/json"
_HTML = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>ETL not found</h1></body></html>"


@dataclass
class Answer:
    status: int
    body: bytes = b""
    content_type: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """What an address means."""

    exchange: str
    method: str = "GET"
    etl_id: int | None = None

    @property
    def is_write(self) -> bool:
        return self.exchange in _WRITES


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def recognise(path: str) -> Call:
    found = _ETL_CALL.fullmatch(path)
    if found:
        # An id that is not a number is an ETL that does not exist; -1 never does.
        etl_id = int(found[1]) if re.fullmatch(r"[0-9]{1,18}", found[1]) else -1
        return Call(found[2], "GET" if found[2] == "status" else "POST", etl_id)
    if path in (ETLS, ETLS + "/"):
        return Call("list")
    if path == LOGIN:
        return Call("login", "POST")
    if path == REFRESH:
        return Call("refresh", "POST")
    return Call("about" if path in ABOUT else "unknown")


def perform(world: World, call: Call, entry: Entry, headers: Mapping[str, str], body: bytes) -> Answer:
    refusal = _refuse_form(world, call, entry, body)
    if call.exchange == "unknown":
        return as_json({"error": "Not found"}, 404)
    if call.exchange in ("login", "refresh"):
        return refusal or _authenticate(world, call, entry, body)
    return _refuse_bearer(world, call, entry, headers) or refusal or _serve(world, call, entry, body)


def _refuse_form(world: World, call: Call, entry: Entry, body: bytes) -> Answer | None:
    settings = world.settings
    if entry.method != call.method:
        return Answer(405, b'{"error": "Method not allowed"}', headers={"Allow": call.method})
    if settings.strict_accept and entry.accept != _JSON:
        return as_json(
            {"error": {"code": "validation.request.accept.invalid", "message": "Invalid Accept header"}}, 400
        )
    needs_type = settings.strict_content_type == "all" or (settings.strict_content_type == "bodies" and body)
    if needs_type and (entry.content_type or "").partition(";")[0].strip().lower() != _JSON:
        return as_json({"error": "Unsupported media type"}, 415)
    return None


def _authenticate(world: World, call: Call, entry: Entry, body: bytes) -> Answer:
    given = _parsed(body)
    now = world.now()
    if call.exchange == "login":
        status, answer = world.authority.login(given, now)
    else:
        status, answer = world.authority.refresh(given, now)
    entry.accepted = status == 200
    world.journal.unauthorized += status == 401
    return as_json(answer, status)


def _refuse_bearer(world: World, call: Call, entry: Entry, headers: Mapping[str, str]) -> Answer | None:
    token, is_good = world.authority.bearer(headers.get("Authorization"), world.now())
    entry.token_serial = token.serial if token else None
    if token is None or not is_good:
        world.journal.unauthorized += 1
        return as_json({"error": "Unauthorized"}, 401)
    if ("write" if call.is_write else "read") not in token.key.permissions:
        return as_json({"error": "Forbidden"}, 403)
    return None


def _serve(world: World, call: Call, entry: Entry, body: bytes) -> Answer:
    if call.exchange == "about":
        return as_json({"name": "agentdata", "version": "simulated"})
    if call.exchange == "list":
        return _list(world, entry)
    properties: dict[str, str] = {}
    if call.exchange in ("run", "schedule"):
        given = _properties(world, body)
        if given is None:
            return as_json({"error": "Bad request: the body is not valid"}, 400)
        properties = given
    elif call.is_write and body and world.settings.stop_body == "refused":
        return as_json({"error": "Bad request: no body expected"}, 400)
    etl = world.etls.get(-1 if call.etl_id is None else call.etl_id)
    if etl is None:
        return _not_found(world)
    if call.exchange == "status":
        etl.advance(world.now())
        return _status(world, etl)
    outcome = etl.request(call.exchange, world.now(), entry.n, properties)
    entry.accepted = outcome.accepted
    if outcome.code != 200:
        return as_json({"error": "Error"}, outcome.code)
    return as_json({"task_execution_request_id": outcome.request_id, "request_status": outcome.word})


def _list(world: World, entry: Entry) -> Answer:
    if not entry.path.endswith("/"):
        if world.settings.list_without_slash == "redirect":
            return Answer(301, headers={"Location": ETLS + "/"})
        return as_json({"error": "Not found"}, 404)
    listed = [etl for etl in world.etls.values() if etl.behaviour.listed]
    return as_json([_list_item(etl) for etl in listed])


def _list_item(etl: Etl) -> dict[str, Any]:
    configurations = etl.behaviour.run_configurations
    if configurations is None:
        configurations = [{"name": "Default", "active": True, "run_configuration_id": 1000 + etl.id}]
    return {"name": etl.behaviour.name, "etl_id": etl.id, "run_configurations": configurations}


def _status(world: World, etl: Etl) -> Answer:
    overlay = etl.behaviour.status_overlay
    if etl.state is None and not overlay:
        return _no_status(etl.behaviour.none_style or world.settings.none_style, etl.id)
    return as_json(
        {
            "status": etl.state,
            "task_id": etl.id,
            "exit_code": etl.exit_code,
            "last_exec_ts": world.shown(etl.last_exec),
            **overlay,
        }
    )


def _no_status(style: str, etl_id: int) -> Answer:
    if style == "204_empty":
        return Answer(204)
    if style == "null":
        return as_json(None)
    if style == "absent":
        return as_json({"task_id": etl_id})
    blank = "" if style == "empty_string" else None
    return as_json({"status": blank, "task_id": etl_id, "exit_code": blank, "last_exec_ts": blank})


def _not_found(world: World) -> Answer:
    code, style = world.settings.not_found_code, world.settings.not_found_style
    if style == "text":
        return Answer(code, b"ETL not found", "text/plain")
    if style == "html":
        return Answer(code, _HTML.encode(), "text/html")
    if style == "empty":
        return Answer(code)
    return as_json({"error": "ETL not found"}, code)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _properties(world: World, body: bytes) -> dict[str, str] | None:
    """The properties of a run or schedule request, or None where the body is not as it must be."""
    mode = world.settings.run_body
    if not body:
        return {} if mode == "lenient" else None
    given = _parsed(body)
    if not isinstance(given, dict) or (mode != "lenient" and "run_execution_properties" not in given):
        return None
    properties = given.get("run_execution_properties", {})
    if not isinstance(properties, dict) or not all(isinstance(value, str) for value in properties.values()):
        return None
    return None if mode == "filled" and not properties else properties
