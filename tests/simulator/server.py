# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web server around the API: reads requests, keeps the journal, lets faults happen."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from . import effects
from .api import Answer, Call, perform, recognise
from .clock import http_date
from .control import control_routes
from .journal import Entry
from .page import page_routes
from .world import World

_KEEP_ALIVE_SECONDS = 300
_LARGEST_BODY = 8 << 20


class Front:
    """Everything below `/opt` and `/ims`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.last_used = time.monotonic()
        self._connections: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._journal_of_connections = world.journal

    async def handle(self, request: web.Request) -> web.StreamResponse:
        world = self.world
        call = recognise(request.path)
        entry = self._open_entry(request, call)
        body = await request.read()
        if call.exchange in ("run", "schedule"):
            entry.body = _readable(body)
        if world.now() < world.outage_until:
            return self._outage(request, entry)
        if world.settings.latency_ms:
            await asyncio.sleep(world.settings.latency_ms / 1000)
        rule = world.faults.take(call.exchange, call.etl_id)

        def work() -> Answer:
            return perform(world, call, entry, request.headers, body)

        if rule is None:
            answer = work()
            entry.status = answer.status
            return effects.to_response(answer)
        entry.fault = rule.fault.kind
        response, entry.status = await effects.deliver(rule.fault, request, body, work, self.shown_now)
        return response

    def shown_now(self) -> float:
        return self.world.now() + self.world.settings.clock_skew

    def _open_entry(self, request: web.Request, call: Call) -> Entry:
        world, headers = self.world, request.headers
        entry = Entry(
            n=world.journal.next_number(),
            time=world.now(),
            real_time=time.time(),
            method=request.method,
            path=request.path,
            exchange=call.exchange,
            etl_id=call.etl_id,
            write=call.is_write,
            accept=", ".join(headers.getall("Accept", ())) or None,
            content_type=headers.get("Content-Type"),
            user_agent=headers.get("User-Agent"),
            has_authorization="Authorization" in headers,
            connection=self._number_of_connection(request),
        )
        world.journal.add(entry)
        return entry

    def _number_of_connection(self, request: web.Request) -> int:
        journal = self.world.journal
        if journal is not self._journal_of_connections:
            self._connections.clear()
            self._journal_of_connections = journal
        transport = request.transport
        if transport is None:
            return 0
        number = self._connections.get(transport)
        if number is None:
            journal.connections += 1
            number = self._connections[transport] = journal.connections
        return number

    def _outage(self, request: web.Request, entry: Entry) -> web.Response:
        mode = self.world.outage_mode
        entry.fault = "outage"
        if mode == "reset":
            entry.status = "reset"
            return effects.abort(request)
        entry.status = int(mode)
        return web.Response(status=int(mode), text="The service is not available.")


def _readable(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")


def build(world: World) -> tuple[web.Application, Front]:
    front = Front(world)

    async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "helix-simulator"
        if not world.settings.date_header:
            del response.headers["Date"]
        else:
            response.headers["Date"] = http_date(front.shown_now())

    @web.middleware
    async def note_use(request: web.Request, handler: Any) -> web.StreamResponse:
        front.last_used = time.monotonic()
        response: web.StreamResponse = await handler(request)
        return response

    application = web.Application(client_max_size=_LARGEST_BODY, middlewares=[note_use])
    application.on_response_prepare.append(finish_headers)
    application.add_routes(control_routes(world))
    application.add_routes(page_routes(world))
    application.router.add_route("*", "/{anything:.*}", front.handle)
    return application, front


async def start(application: web.Application, host: str, port: int, tls: Any) -> tuple[web.AppRunner, int]:
    """Listen; return the runner and the port that was taken."""
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=_KEEP_ALIVE_SECONDS, shutdown_timeout=0.2, handle_signals=False
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024)
    await site.start()
    taken: int = runner.addresses[0][1]
    return runner, taken
