# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control interface, `/_simulator/...`: how a test sets the scene and asks what happened."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import asdict
from typing import Any, Callable

from aiohttp import web

from .checks import InputError, as_object, check, is_number, refuse_unknown
from .etl_settings import EtlFields
from .scenarios import scenario_named
from .world import World

BASE = "/_simulator"


class Control:
    """One method per call. Each takes the request and the parsed body and returns what is sent as JSON."""

    def __init__(self, world: World) -> None:
        self.world = world

    def reset(self, request: web.Request, given: Any) -> Any:
        values = as_object({} if given is None else given, "A reset")
        refuse_unknown(values, ("scenario",), "A reset")
        scenario = values.get("scenario", self.world.identity.scenario)
        before = dict(vars(self.world))
        try:
            self.world.reset(scenario_named(scenario) if isinstance(scenario, str) else scenario)
        except InputError:
            vars(self.world).update(before)
            raise
        return {"etls": sorted(self.world.etls)}

    def get_config(self, request: web.Request, given: Any) -> Any:
        return asdict(self.world.settings)

    def put_config(self, request: web.Request, given: Any) -> Any:
        self.world.configure(given)
        return asdict(self.world.settings)

    def get_etls(self, request: web.Request, given: Any) -> Any:
        self.world.advance_all()
        return [self.world.describe(etl) for etl in self.world.etls.values()]

    def get_etl(self, request: web.Request, given: Any) -> Any:
        return self.world.describe(self.world.etl(_id(request)))

    def put_etl(self, request: web.Request, given: Any) -> Any:
        return self.world.describe(self.world.put_etl(_id(request), given))

    def patch_etl(self, request: web.Request, given: Any) -> Any:
        etl = self.world.etl(_id(request))
        etl.patch(given, self.world.now(), self.world.settings.clock_skew)
        return self.world.describe(etl)

    def delete_etl(self, request: web.Request, given: Any) -> Any:
        self.world.etl(_id(request))
        del self.world.etls[_id(request)]
        return {}

    def start_etl(self, request: web.Request, given: Any) -> Any:
        etl = self.world.etl(_id(request))
        values = _few(given, ("duration", "exit"), "A start")
        return self.world.describe_execution(etl.start(self.world.now(), values))

    def finish_etl(self, request: web.Request, given: Any) -> Any:
        etl = self.world.etl(_id(request))
        etl.finish(self.world.now(), _few(given, ("exit", "state"), "A finish"))
        return self.world.describe(etl)

    def get_faults(self, request: web.Request, given: Any) -> Any:
        return [rule.shown() for rule in self.world.faults.rules]

    def post_fault(self, request: web.Request, given: Any) -> Any:
        return self.world.faults.add(given).shown()

    def delete_faults(self, request: web.Request, given: Any) -> Any:
        self.world.faults.rules.clear()
        return {}

    def delete_fault(self, request: web.Request, given: Any) -> Any:
        self.world.faults.remove(_id(request))
        return {}

    def get_requests(self, request: web.Request, given: Any) -> Any:
        since = _number_in_query(request, "since")
        return [self.world.describe_entry(entry) for entry in self.world.journal.entries if entry.n > since]

    def get_executions(self, request: web.Request, given: Any) -> Any:
        self.world.advance_all()
        return [self.world.describe_execution(execution) for execution in self.world.books.executions]

    def get_counters(self, request: web.Request, given: Any) -> Any:
        return self.world.counters()

    def get_clock(self, request: web.Request, given: Any) -> Any:
        now = self.world.now()
        return {"now": now, "shown": self.world.shown(now), "speed": self.world.clock.speed}

    def post_clock(self, request: web.Request, given: Any) -> Any:
        values = as_object(given, "The clock")
        refuse_unknown(values, ("advance", "speed"), "The clock")
        for name in values:
            _non_negative(values[name], name, "The clock")
        if "speed" in values:
            self.world.clock.set_speed(values["speed"])
        self.world.clock.advance(values.get("advance", 0))
        return self.get_clock(request, given)

    def get_keys(self, request: web.Request, given: Any) -> Any:
        return [key.shown() for key in self.world.authority.keys.values()]

    def put_key(self, request: web.Request, given: Any) -> Any:
        return self.world.authority.change_key(given, self.world.now()).shown()

    def revoke_tokens(self, request: web.Request, given: Any) -> Any:
        values = as_object({} if given is None else given, "A revocation")
        refuse_unknown(values, ("refresh_too",), "A revocation")
        self.world.authority.revoke_jwts()
        if values.get("refresh_too", False):
            self.world.authority.revoke()
        return {}

    def post_outage(self, request: web.Request, given: Any) -> Any:
        values = as_object(given, "An outage")
        refuse_unknown(values, ("seconds", "mode"), "An outage")
        _non_negative(values.get("seconds"), "seconds", "An outage")
        self.world.start_outage(values["seconds"], values.get("mode", "reset"))
        return {"until": self.world.outage_until, "mode": self.world.outage_mode}


def control_routes(world: World) -> list[web.RouteDef]:
    control = Control(world)
    table: list[tuple[str, str, Callable[[web.Request, Any], Any]]] = [
        ("POST", "/reset", control.reset),
        ("GET", "/config", control.get_config),
        ("PUT", "/config", control.put_config),
        ("GET", "/etls", control.get_etls),
        ("GET", "/etls/{id}", control.get_etl),
        ("PUT", "/etls/{id}", control.put_etl),
        ("PATCH", "/etls/{id}", control.patch_etl),
        ("DELETE", "/etls/{id}", control.delete_etl),
        ("POST", "/etls/{id}/start", control.start_etl),
        ("POST", "/etls/{id}/finish", control.finish_etl),
        ("GET", "/faults", control.get_faults),
        ("POST", "/faults", control.post_fault),
        ("DELETE", "/faults", control.delete_faults),
        ("DELETE", "/faults/{id}", control.delete_fault),
        ("GET", "/requests", control.get_requests),
        ("GET", "/executions", control.get_executions),
        ("GET", "/counters", control.get_counters),
        ("GET", "/clock", control.get_clock),
        ("POST", "/clock", control.post_clock),
        ("GET", "/keys", control.get_keys),
        ("PUT", "/keys", control.put_key),
        ("POST", "/tokens/revoke", control.revoke_tokens),
        ("POST", "/outage", control.post_outage),
    ]
    routes = [web.route(method, BASE + path, _handler(act)) for method, path, act in table]
    return [*routes, web.route("*", BASE + "/{rest:.*}", _unknown)]


def _handler(act: Callable[[web.Request, Any], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(act(request, await _body(request)))
        except InputError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


async def _unknown(request: web.Request) -> web.Response:
    return web.json_response({"error": f"There is no control call {request.method} {request.path}."}, status=404)


async def _body(request: web.Request) -> Any:
    text = await request.text()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"The body is not JSON: {error}.") from error


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not text.isascii() or not text.isdigit():
        raise InputError(f"'{text}' is not a whole number.")
    return int(text)


def _number_in_query(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not text.isascii() or not text.isdigit():
        raise InputError(f"'{name}' must be a whole number, not '{text}'.")
    return int(text)


def _non_negative(value: object, name: str, what: str) -> None:
    if not is_number(value) or value < 0:  # type: ignore[operator]
        raise InputError(f"{what}: '{name}' must be a number, at least 0, not {value!r}.")


def _few(given: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """A small body whose fields mean the same as those of an ETL."""
    values = as_object({} if given is None else given, what)
    refuse_unknown(values, names, what)
    return check(EtlFields, values, what)
