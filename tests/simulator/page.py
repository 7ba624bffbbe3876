# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The live page at `/` and the small JSON that it polls."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from .world import World

_SHOWN_ROWS = 20
_SEEN_REQUESTS = 2_000


def page_routes(world: World) -> list[web.RouteDef]:
    async def page(request: web.Request) -> web.Response:
        html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return web.Response(text=html, content_type="text/html")

    async def data(request: web.Request) -> web.Response:
        return web.json_response(snapshot(world))

    return [web.get("/", page), web.get("/_page.json", data)]


def snapshot(world: World) -> dict[str, Any]:
    now = world.advance_all()
    return {
        "now": now,
        "shown": world.shown(now),
        "speed": world.clock.speed,
        "outage": max(0.0, world.outage_until - now),
        "counters": world.counters(),
        "etls": [_etl(world, etl_id, now) for etl_id in sorted(world.etls)],
        "requests": _requests(world),
    }


def _requests(world: World) -> list[dict[str, Any]]:
    """The newest first. Status reads that went well become one row with their number, or nothing else would be seen."""
    rows: list[dict[str, Any]] = []
    for entry in islice(reversed(world.journal.entries), _SEEN_REQUESTS):
        look = entry.exchange == "status" and entry.status in (200, 204) and not entry.fault
        if look and rows and rows[-1]["looked_at"]:
            rows[-1]["count"] += 1
            rows[-1]["looked_at"] = sorted({*rows[-1]["looked_at"], entry.etl_id})
            continue
        if len(rows) == _SHOWN_ROWS:
            break
        rows.append(
            {
                "time": world.shown(entry.time),
                "method": entry.method,
                "path": entry.path,
                "status": entry.status,
                "fault": entry.fault,
                "write": entry.write,
                "looked_at": [entry.etl_id] if look else [],
                "count": 1,
            }
        )
    return rows


def _etl(world: World, etl_id: int, now: float) -> dict[str, Any]:
    etl = world.etls[etl_id]
    running = etl.running[0] if etl.running else None
    return {
        "id": etl.id,
        "name": etl.behaviour.name,
        "kind": etl.behaviour.kind,
        "engine": etl.behaviour.engine,
        "state": etl.state,
        "exit": etl.exit_code,
        "age": None if etl.last_exec is None else max(0.0, now - etl.last_exec),
        "not_begun": len(etl.not_begun),
        "executing": len(etl.running),
        "since": running.started_at if running else None,
        "due": running.due_at if running else None,
    }
