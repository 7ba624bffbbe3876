# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control interface: scenarios, profiles, `/_simulator/...`, and the live page."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Awaitable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Literal, Optional

from aiohttp import web

from .model import Etl
from .settings import Fields, InputError, Seconds, Settings, Whole, Word, as_object, check, fields_of, one_of
from .tenant import Identity, Tenant, describe_execution

BASE = "/_simulator"
_SHOWN_ROWS = 20
_SEEN_REQUESTS = 2_000


# --- scenarios --------------------------------------------------------------------------------------------------------

_DEMO = """[
  {"id": 53, "name": "VMware - vCenter Extractor Service", "kind": "service", "state": "SERVICE_ON", "stop_lag": 2},
  {"id": 118, "name": "AWS - Nightly Cost and Usage", "kind": "periodic", "duration": 20, "start_lag": 3,
   "last_exec_age": 50000},
  {"id": 321, "name": "Nightly vCenter import", "state": "ENDED", "duration": 8, "start_lag": 2,
   "last_exec_age": 72000},
  {"id": 322, "name": "Oracle - Database Extractor", "state": "ENDED", "exit_code": "OK", "duration": 6, "start_lag": 1,
   "exit": "ERROR", "last_exec_age": 100000},
  {"id": 323, "name": "Kubernetes - Prometheus Extractor", "kind": "periodic", "exit_code": "WARNING", "duration": 5,
   "start_lag": 1, "exit": "WARNING", "last_exec_age": 2700},
  {"id": 402, "name": "Mainframe - z/OS Extractor (remote engine inactive)", "state": "ABORTED", "engine": "inactive",
   "last_exec_age": 420000}
]"""
BUILT_IN: dict[str, dict[str, Any]] = {"empty": {}, "demo": {"etls": json.loads(_DEMO)}}


def scenario_named(name: str) -> dict[str, Any]:
    if name not in BUILT_IN:
        raise InputError(f"There is no scenario '{name}'; there are {', '.join(BUILT_IN)}.")
    return copy.deepcopy(BUILT_IN[name])


def scenario_from(name_or_file: str) -> dict[str, Any]:
    """A built-in scenario or one in a file."""
    return scenario_named(name_or_file) if name_or_file in BUILT_IN else read_object("scenario", name_or_file)


def read_object(what: str, path: str) -> dict[str, Any]:
    """The object in a JSON file, or in a YAML file if its name says so."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        if path.endswith((".yml", ".yaml")):
            return as_object(importlib.import_module("yaml").safe_load(text), f"The {what} '{path}'")
        return as_object(json.loads(text), f"The {what} '{path}'")
    except ImportError as error:
        raise InputError(f"The {what} '{path}' is YAML, and PyYAML is not installed. Use JSON.") from error
    except InputError:
        raise
    # The errors of PyYAML have no base class in the standard library.
    except Exception as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error}.") from error


# --- profiles ---------------------------------------------------------------------------------------------------------

#: field of a profile: the setting
PROFILE = {
    "status_code": "status_code",
    "time_format": "time_format",
    "words_case": "words_case",
    "trailing_slash": "list_without_slash",
    "accept": "strict_accept",
    "forbidden_code": "forbidden_code",
    "tenant_id_required": "tenant_required",
    "token_life_seconds": "token_life",
    "token_claims": "jwt_opaque",
    "token_exp": "jwt_exp",
    "date_header": "date_header",
    "clock_skew_seconds": "clock_skew",
    "no_value": "none_style",
}
#: The values that have other names in a profile.
_VALUES: dict[str, dict[str, Any]] = {
    "words_case": {"upper": "as_is", "lower": "lower", "title": "title"},
    "trailing_slash": {"required": "not_found", "redirected": "redirect", "optional": "served"},
    "accept": {"strict": True, "lenient": False},
    "token_claims": {"readable": False, "opaque": True},
    "no_value": {"null": "json_null", "null_body": "null", "empty_body": "204_empty"}
    | {same: same for same in ("empty_string", "absent")},
}
#: Fields whose effect is more than a setting.
MORE_OF_A_PROFILE: Fields = {
    "format_version": Literal[1],
    "no_value_code": Literal[200, 204],
    "unknown_id": dict[str, Any],
    "permissions": list[Literal["read", "write"]],
    "state_words": list[str],
    "exit_words": list[str],
    "etl_count": Whole,
}
_UNKNOWN_ID = {"code": "not_found_code", "content_type": "not_found_type", "shape": "not_found_style"}
_DOCUMENTED = ("RUNNING", "WAITING", "ENDED", "ABORTED", "SERVICE_ON", "SERVICE_OFF", "OK", "WARNING", "ERROR")
_FIRST_ID = {"state": 900_001, "exit": 910_001, "more": 920_001}


def apply_profile(identity: Identity, given: dict[str, Any]) -> list[str]:
    """Apply a profile to the tenant; return the names of the fields that have no effect."""
    if given.get("format_version") != 1:
        raise InputError(f"The profile has format_version {given.get('format_version')!r}; this simulator reads 1.")
    settings = fields_of(Settings)
    hints = {name: one_of(_VALUES[name]) if name in _VALUES else settings[PROFILE[name]] for name in PROFILE}
    hints.update(MORE_OF_A_PROFILE)
    profile = check(hints, _observed({name: value for name, value in given.items() if name in hints}), "The profile")
    config = {
        setting: _VALUES[name][profile[name]] if name in _VALUES else profile[name]
        for name, setting in PROFILE.items()
        if name in profile
    }
    if profile.get("no_value") == "empty_body":
        config["none_style"] = f"{profile.get('no_value_code', profile.get('status_code', 204))}_empty"
    parts = {part: settings[setting] for part, setting in _UNKNOWN_ID.items()}
    unknown_id = check(parts, _observed(profile.get("unknown_id", {})), "The profile's 'unknown_id'")
    config.update({_UNKNOWN_ID[part]: value for part, value in unknown_id.items()})
    identity.config = {**config, **identity.config}
    identity.permissions = profile.get("permissions", identity.permissions)
    _add_etls(identity, profile)
    return sorted(set(given) - set(hints))


def _observed(given: dict[str, Any]) -> dict[str, Any]:
    """A field that is null was not observed."""
    return {name: value for name, value in given.items() if value is not None}


def _add_etls(identity: Identity, profile: dict[str, Any]) -> None:
    """Add ETLs, so that every observed word is shown, and the number of ETLs is the observed one."""
    etls: list[dict[str, Any]] = identity.scenario.setdefault("etls", [])
    shown = Tenant(Identity(scenario={"etls": etls})).etls.values()
    seen = {"state": {etl.state for etl in shown}, "exit": {etl.exit_code for etl in shown}}
    for sort in ("state", "exit"):
        for number, text in enumerate(profile.get(f"{sort}_words", [])):
            word = text.upper() if text.upper() in _DOCUMENTED else text
            look: dict[str, Any] = {"state": "ENDED", "exit_code": word, "last_exec_age": 3600}
            if sort == "state":
                look = {"state": word, "kind": "service" if word.startswith("SERVICE") else "batch", "duration": None}
            if word not in seen[sort]:
                etls.append({"id": _FIRST_ID[sort] + number, "name": f"Shows the {sort} {word}", **look})
    missing = range(profile.get("etl_count", 0) - len(etls))
    etls.extend({"id": _FIRST_ID["more"] + number, "name": f"ETL of the profile {number + 1}"} for number in missing)


# --- control calls ----------------------------------------------------------------------------------------------------


_Act = Callable[[Tenant, web.Request, Any], Any]
_START: Fields = {"duration": Optional[Seconds], "exit": Word, "after": Seconds}
_FINISH: Fields = {"exit": Word, "state": Word, "after": Seconds}
_CLOCK: Fields = {"advance": Seconds, "speed": Seconds}
_OUTAGE: Fields = {"seconds": Seconds, "mode": Literal["reset", "503", "502"]}


def _reset(tenant: Tenant, request: web.Request, given: Any) -> Any:
    scenario = check({"scenario": Any}, given, "A reset").get("scenario", tenant.identity.scenario)
    before = dict(vars(tenant))
    try:
        tenant.reset(scenario_named(scenario) if isinstance(scenario, str) else scenario)
    except InputError:
        vars(tenant).update(before)
        raise
    return {"etls": sorted(tenant.etls)}


def _put_config(tenant: Tenant, request: web.Request, given: Any) -> Any:
    tenant.configure(given)
    return asdict(tenant.settings)


def _patch_etl(tenant: Tenant, request: web.Request, given: Any) -> Any:
    etl = tenant.etl(_id(request))
    etl.patch(given, tenant.now(), tenant.settings.clock_skew)
    return tenant.describe(etl)


def _delete_etl(tenant: Tenant, request: web.Request, given: Any) -> Any:
    del tenant.etls[tenant.etl(_id(request)).id]
    return {}


def _start_etl(tenant: Tenant, request: web.Request, given: Any) -> Any:
    values = check(_START, given, "A start")
    tenant.etl(_id(request)).start(tenant.now(), values)
    return {} if values.get("after") else describe_execution(tenant.books.executions[-1])


def _finish_etl(tenant: Tenant, request: web.Request, given: Any) -> Any:
    etl = tenant.etl(_id(request))
    etl.finish(tenant.now(), check(_FINISH, given, "A finish"))
    return tenant.describe(etl)


def _delete_faults(tenant: Tenant, request: web.Request, given: Any) -> Any:
    if "id" in request.match_info:
        tenant.faults.remove(_id(request))
    else:
        tenant.faults.rules.clear()
    return {}


def _get_requests(tenant: Tenant, request: web.Request, given: Any) -> Any:
    since = _whole(request.query.get("since", "0"))
    return [dict(vars(entry)) for entry in tenant.journal.entries if entry.n > since]


def _get_clock(tenant: Tenant, request: web.Request, given: Any) -> Any:
    now = tenant.now()
    return {"now": now, "shown": tenant.shown(now), "speed": tenant.clock.speed}


def _post_clock(tenant: Tenant, request: web.Request, given: Any) -> Any:
    values = check(_CLOCK, given, "The clock")
    if "speed" in values:
        tenant.clock.set_speed(values["speed"])
    tenant.clock.advance(values.get("advance", 0))
    return _get_clock(tenant, request, given)


def _revoke_tokens(tenant: Tenant, request: web.Request, given: Any) -> Any:
    tenant.authority.revoke(**check({"refresh_too": bool}, given, "A revocation"))
    return {}


def _post_outage(tenant: Tenant, request: web.Request, given: Any) -> Any:
    values = check(_OUTAGE, given, "An outage")
    if "seconds" not in values:
        raise InputError("An outage needs 'seconds'.")
    tenant.outage_until = tenant.now() + values["seconds"]
    tenant.outage_mode = values.get("mode", "reset")
    return {"until": tenant.outage_until, "mode": tenant.outage_mode}


CALLS: dict[tuple[str, str], _Act] = {
    ("POST", "/reset"): _reset,
    ("GET", "/config"): lambda tenant, request, given: asdict(tenant.settings),
    ("PUT", "/config"): _put_config,
    ("GET", "/etls"): lambda tenant, request, given: [tenant.describe(tenant.etl(etl_id)) for etl_id in tenant.etls],
    ("GET", "/etls/{id}"): lambda tenant, request, given: tenant.describe(tenant.etl(_id(request))),
    ("PUT", "/etls/{id}"): lambda tenant, request, given: tenant.describe(tenant.put_etl(_id(request), given)),
    ("PATCH", "/etls/{id}"): _patch_etl,
    ("DELETE", "/etls/{id}"): _delete_etl,
    ("POST", "/etls/{id}/start"): _start_etl,
    ("POST", "/etls/{id}/finish"): _finish_etl,
    ("GET", "/faults"): lambda tenant, request, given: [rule.shown() for rule in tenant.faults.rules],
    ("POST", "/faults"): lambda tenant, request, given: tenant.faults.add(given).shown(),
    ("DELETE", "/faults"): _delete_faults,
    ("DELETE", "/faults/{id}"): _delete_faults,
    ("GET", "/requests"): _get_requests,
    ("GET", "/executions"): lambda tenant, request, given: tenant.executions(),
    ("GET", "/counters"): lambda tenant, request, given: tenant.counters(),
    ("GET", "/clock"): _get_clock,
    ("POST", "/clock"): _post_clock,
    ("GET", "/keys"): lambda tenant, request, given: [key.shown() for key in tenant.authority.keys.values()],
    ("PUT", "/keys"): lambda tenant, request, given: tenant.authority.change_key(given, tenant.now()).shown(),
    ("POST", "/tokens/revoke"): _revoke_tokens,
    ("POST", "/outage"): _post_outage,
}
#: Calls that can have no body.
_BARE = ("/reset", "/etls/{id}/start", "/etls/{id}/finish", "/tokens/revoke")


def control_routes(tenant: Tenant) -> list[web.RouteDef]:
    async def unknown(request: web.Request) -> web.Response:
        return web.json_response({"error": f"There is no control call {request.method} {request.path}."}, status=404)

    routes = [web.route(method, BASE + path, _handler(tenant, act, path)) for (method, path), act in CALLS.items()]
    return [*routes, web.route("*", BASE + "/{rest:.*}", unknown)]


def _handler(tenant: Tenant, act: _Act, path: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        text = await request.text()
        try:
            given = json.loads(text) if text else {} if path in _BARE else None
            return web.json_response(act(tenant, request, given))
        except json.JSONDecodeError as error:
            return web.json_response({"error": f"The body is not JSON: {error}."}, status=400)
        except InputError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _id(request: web.Request) -> int:
    return _whole(request.match_info["id"])


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InputError(f"'{text}' is not a whole number.")
    return int(text)


# --- the page ---------------------------------------------------------------------------------------------------------


def page_routes(tenant: Tenant) -> list[web.RouteDef]:
    async def page(request: web.Request) -> web.Response:
        html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return web.Response(text=html, content_type="text/html")

    async def data(request: web.Request) -> web.Response:
        return web.json_response(_snapshot(tenant))

    return [web.get("/", page), web.get("/_page.json", data)]


def _snapshot(tenant: Tenant) -> dict[str, Any]:
    now = tenant.advance_all()
    return {
        "now": now,
        "shown": tenant.shown(now),
        "speed": tenant.clock.speed,
        "outage": max(0.0, tenant.outage_until - now),
        "counters": tenant.counters(),
        "etls": [_etl(tenant, etl, now) for _id, etl in sorted(tenant.etls.items())],
        "requests": _requests(tenant),
    }


def _requests(tenant: Tenant) -> list[dict[str, Any]]:
    """The newest first. Consecutive successful status requests become one row with their number."""
    rows: list[dict[str, Any]] = []
    for entry in islice(reversed(tenant.journal.entries), _SEEN_REQUESTS):
        poll = entry.exchange == "status" and entry.status in (200, 204) and not entry.fault
        if poll and rows and rows[-1]["polled"]:
            rows[-1]["count"] += 1
            rows[-1]["polled"] = sorted({*rows[-1]["polled"], entry.etl_id})
            continue
        if len(rows) == _SHOWN_ROWS:
            break
        row = {name: getattr(entry, name) for name in ("method", "path", "status", "fault", "write")}
        rows.append({**row, "time": tenant.shown(entry.time), "polled": [entry.etl_id] if poll else [], "count": 1})
    return rows


def _etl(tenant: Tenant, etl: Etl, now: float) -> dict[str, Any]:
    running = etl.running[0] if etl.running else None
    return {
        **tenant.describe(etl),
        "age": None if etl.last_exec is None else max(0.0, now - etl.last_exec),
        "since": running.started_at if running else None,
        "due": running.due_at if running else None,
    }
