# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a fault reaches the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Callable

from aiohttp import web

from .api import Answer
from .clock import http_date
from .faults import Fault

LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>User name</form></body></html>"
_BLOCK = 1 << 16
_GZIP_WINDOW = 31
_NOTHING = Answer(200, b"{}")


def to_response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    if answer.status != 204:
        response.headers["Content-Type"] = answer.content_type
    return response


def abort(request: web.BaseRequest) -> web.Response:
    """Cut the connection with a TCP reset. The response that is returned goes nowhere; the framework wants one."""
    transport = request.transport
    if transport is not None:
        raw_socket = transport.get_extra_info("socket")
        if raw_socket is not None:
            with contextlib.suppress(OSError):
                raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


def close(request: web.BaseRequest) -> web.Response:
    """Close the connection in good order, whatever was promised."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def deliver(
    fault: Fault, request: web.Request, body: bytes, work: Callable[[], Answer], shown_now: Callable[[], float]
) -> tuple[web.StreamResponse, int | str]:
    """Carry the request out or not, go wrong as told, and say what the client got."""
    kind = fault.kind
    if kind in ("slow", "slow_before_nothing"):
        await asyncio.sleep(fault.seconds)
    answer = work() if fault.does_work else _NOTHING
    if kind == "slow_after":
        await asyncio.sleep(fault.seconds)
    if kind in ("reset_before", "reset_after"):
        return abort(request), "reset"
    if kind == "slow_before_nothing":
        return close(request), "closed"
    if kind == "raw":
        return await _raw(request, fault.text.encode("latin-1")), "raw"
    if kind == "huge":
        return await _huge(fault, request), fault.code or 200
    if kind == "slow_body":
        return await _drip(fault, request, answer), answer.status
    if kind == "cut_json":
        return await _cut(request, answer), answer.status
    answer = _instead(fault, request, body, answer, shown_now)
    return to_response(answer), answer.status


def _instead(fault: Fault, request: web.Request, body: bytes, answer: Answer, shown_now: Callable[[], float]) -> Answer:
    """The answer that takes the place of the right one."""
    if fault.kind in ("status", "accept_then_status"):
        return _status(fault, shown_now)
    if fault.kind == "html_200":
        return Answer(200, (LOGIN_PAGE if fault.body is None else str(fault.body)).encode(), "text/html")
    if fault.kind == "wrong_shape":
        shape = 42 if fault.body is None else fault.body
        return Answer(fault.code or 200, json.dumps(shape).encode())
    if fault.kind == "redirect":
        return Answer(fault.code or 302, headers={"Location": fault.location})
    if fault.kind == "echo_secrets":
        echo = {"error": "Unexpected", "headers": dict(request.headers), "body": body.decode("utf-8", "replace")}
        return Answer(fault.code or 500, json.dumps(echo).encode())
    return answer


def _status(fault: Fault, shown_now: Callable[[], float]) -> Answer:
    code = fault.code or (502 if fault.kind == "accept_then_status" else 503)
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.retry_after_date is not None:
        headers["Retry-After"] = http_date(shown_now() + fault.retry_after_date)
    if fault.body is None:
        return Answer(code, b"", fault.content_type or "text/plain", headers)
    if isinstance(fault.body, str):
        return Answer(code, fault.body.encode(), fault.content_type or "text/plain", headers)
    return Answer(code, json.dumps(fault.body).encode(), fault.content_type or "application/json", headers)


async def _raw(request: web.Request, text: bytes) -> web.Response:
    transport = request.transport
    if transport is not None:
        transport.write(text)
    return close(request)


async def _huge(fault: Fault, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=fault.code or 200, headers={"Content-Type": "application/json"})
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW) if fault.gzip else None
    if packer:
        response.headers["Content-Encoding"] = "gzip"
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        for piece in _blank_list(fault.bytes):
            await response.write(packer.compress(piece) if packer else piece)
            await asyncio.sleep(0)
        await response.write_eof(packer.flush() if packer else b"")
    return response


def _blank_list(size: int) -> Iterator[bytes]:
    """An empty JSON list of so many bytes."""
    yield b"["
    for start in range(0, size - 2, _BLOCK):
        yield b" " * min(_BLOCK, size - 2 - start)
    yield b"]"


async def _drip(fault: Fault, request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    size = max(1, -(-len(answer.body) // fault.chunks))
    pieces = [answer.body[at : at + size] for at in range(0, len(answer.body), size)]
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        for piece in pieces:
            await asyncio.sleep(fault.seconds / len(pieces))
            await response.write(piece)
        await response.write_eof()
    return response


async def _cut(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
    close(request)
    return response
