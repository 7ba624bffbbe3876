# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The web server around the API: reads requests, keeps the journal, sends responses and faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from http import HTTPStatus
from typing import Any

from aiohttp import web

from .api import Answer, Call, as_json, parsed, perform, recognize
from .control import control_routes, page_routes
from .faults import FaultRule
from .settings import Fault
from .tenant import Entry, Tenant

LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>User name</form></body></html>"
_NAME = "helix-simulator"
_KEEP_ALIVE_SECONDS = 300
_LARGEST_BODY = 8 << 20


class Front:
    """Everything below `/opt` and `/ims`."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.last_used = time.monotonic()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        tenant = self.tenant
        call = recognize(request.path)
        entry = self._open_entry(request, call)
        body = await request.read()
        if call.exchange in ("run", "schedule") and body:
            content = parsed(body)
            entry.body = body.decode("utf-8", "replace") if content is None else content
        if tenant.now() < tenant.outage_until:
            entry.fault = "outage"
            entry.status = tenant.outage_mode
            if entry.status == "reset":
                return abort(request)
            entry.status = int(entry.status)
            return web.Response(status=entry.status, text="The service is not available.")
        if tenant.settings.latency_ms:
            await asyncio.sleep(tenant.settings.latency_ms / 1000)
        rule = tenant.faults.take(call.exchange, call.etl_id)
        if rule is not None:
            entry.fault = rule.fault.kind
            return await self._fail(rule, request, call, entry, body)
        return self._respond(request, entry, perform(tenant, call, entry, request.headers, body))

    def _open_entry(self, request: web.Request, call: Call) -> Entry:
        journal, headers = self.tenant.journal, request.headers
        entry = Entry(
            n=journal.received.total() + 1,
            time=self.tenant.now(),
            method=request.method,
            path=request.path,
            exchange=call.exchange,
            etl_id=call.etl_id if call.is_write or call.exchange == "status" else None,
            write=call.is_write,
            accept=", ".join(headers.getall("Accept", ())) or None,
            content_type=headers.get("Content-Type"),
            has_authorization="Authorization" in headers,
            connection=journal.number_of(request.transport),
        )
        journal.add(entry)
        return entry

    def _respond(self, request: web.Request, entry: Entry, answer: Answer) -> web.StreamResponse:
        entry.status = answer.status
        if answer.status == 204 and answer.body:
            # The documentation prints JSON beside status 204. No web framework sends that, because HTTP forbids it.
            return _raw(request, self._on_the_wire(answer))
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        if answer.status != 204:
            response.headers["Content-Type"] = answer.content_type
        return response

    def _on_the_wire(self, answer: Answer) -> bytes:
        date = self.tenant.date()
        head = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            *(() if date is None else (f"Date: {date}",)),
            f"Server: {_NAME}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Connection: close",
        ]
        return "\r\n".join([*head, "", ""]).encode() + answer.body

    async def _fail(
        self, rule: FaultRule, request: web.Request, call: Call, entry: Entry, body: bytes
    ) -> web.StreamResponse:
        """Carry the request out or not, and fail according to the rule."""
        fault, kind = rule.fault, rule.fault.kind
        if kind in ("slow", "slow_before_nothing"):
            await asyncio.sleep(fault.seconds)
        answer = Answer(200, b"{}")
        if rule.works:
            lag = fault.seconds if kind == "stale" else None
            answer = perform(self.tenant, call, entry, request.headers, body, lag)
        if kind == "slow_after":
            await asyncio.sleep(fault.seconds)
        if kind in ("reset_before", "reset_after"):
            entry.status = "reset"
            return abort(request)
        if kind in ("slow_before_nothing", "raw"):
            entry.status = "raw" if kind == "raw" else "closed"
            return _raw(request, fault.text.encode("latin-1"))
        if kind == "cut_json":
            entry.status = answer.status
            content = self._on_the_wire(answer)
            return _raw(request, content[: len(content) - len(answer.body) // 2])
        return self._respond(request, entry, _instead(fault, answer))


# --- how a fault reaches the client -----------------------------------------------------------------------------------


def abort(request: web.BaseRequest) -> web.Response:
    """Cut the connection with a TCP reset. The returned response is not sent, but the framework requires one."""
    transport = request.transport
    if transport is not None:
        with contextlib.suppress(OSError, AttributeError):  # it is closed already
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def _raw(request: web.BaseRequest, content: bytes = b"") -> web.Response:
    """Write the bytes unchanged and close the connection, regardless of the announced length."""
    if request.transport is not None:
        request.transport.write(content)
        request.transport.close()
    return web.Response()


def _instead(fault: Fault, answer: Answer) -> Answer:
    """The response that replaces the correct one."""
    if fault.kind in ("status", "accept_then_status"):
        return _status(fault)
    if fault.kind == "html_200":
        return Answer(200, (LOGIN_PAGE if fault.body is None else str(fault.body)).encode(), "text/html")
    if fault.kind == "wrong_shape":
        return as_json(42 if fault.body is None else fault.body, fault.code or 200)
    if fault.kind == "redirect":
        return Answer(fault.code or 302, headers={"Location": fault.location})
    return _edited(fault, answer) if fault.kind == "edit" else answer


def _status(fault: Fault) -> Answer:
    headers: dict[str, str] = dict(fault.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    is_text = fault.body is None or isinstance(fault.body, str)
    text = (fault.body or "") if is_text else json.dumps(fault.body)
    usual_type = "text/plain" if is_text else "application/json"
    code = fault.code or (502 if fault.kind == "accept_then_status" else 503)
    return Answer(code, text.encode(), fault.content_type or usual_type, headers)


def _edited(fault: Fault, answer: Answer) -> Answer:
    """Set or remove fields of the JSON response; in a list, those of each item."""
    content = parsed(answer.body)
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict):
            item.update(fault.set)
            for name in fault.drop:
                item.pop(name, None)
    return as_json(content, answer.status)


# --- the application --------------------------------------------------------------------------------------------------


def build(tenant: Tenant) -> tuple[web.Application, web.Application, Front]:
    """The whole application, the page alone, and the record of the last use."""
    front = Front(tenant)

    async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = _NAME
        response.headers.popall("Date", None)
        date = tenant.date()
        if date is not None:
            response.headers["Date"] = date

    @web.middleware
    async def note_use(request: web.Request, handler: Any) -> web.StreamResponse:
        front.last_used = time.monotonic()
        response: web.StreamResponse = await handler(request)
        return response

    application = web.Application(client_max_size=_LARGEST_BODY, middlewares=[note_use])
    application.on_response_prepare.append(finish_headers)
    application.add_routes(control_routes(tenant))
    application.add_routes(page_routes(tenant))
    application.router.add_route("*", "/{anything:.*}", front.handle)
    page = web.Application(middlewares=[note_use])
    page.add_routes(page_routes(tenant))
    return application, page, front


async def start(application: web.Application, host: str, port: int, tls: Any) -> tuple[web.AppRunner, int]:
    """Listen; return the runner and the port."""
    runner = web.AppRunner(
        application, access_log=None, keepalive_timeout=_KEEP_ALIVE_SECONDS, shutdown_timeout=0.2, handle_signals=False
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024)
    await site.start()
    taken: int = runner.addresses[0][1]
    return runner, taken
