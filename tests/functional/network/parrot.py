# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that gives every secret away: the ones it was sent, and the ones it made up itself."""

from __future__ import annotations

import base64
import html
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

STYLES = ("json", "nested", "java", "page", "text", "quoted", "base64")
EXCHANGES = ("login", "list", "status", "run")


class Parrot(ThreadingHTTPServer):
    """Behaves well below the path /fine, and badly below paths such as /run-500-json: exchange, HTTP status, style.

    The status `200` in such a path means a response of the right shape with secrets in place of words, and `201` one
    of the wrong shape.
    """

    daemon_threads = True

    def __init__(self, secrets: Mapping[str, str], jwt: str, refresh_token: str, principal_id: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets = dict(secrets)
        self.login = {"json_web_token": jwt, "token": refresh_token, "principal_id": principal_id}
        self.login |= {"user_id": "parrot", "tenant_id": "1"}
        self.started: set[str] = set()
        self.requests: list[str] = []

    def __enter__(self) -> Parrot:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()

    def url(self, mode: str = "fine") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{mode}"

    def good(self, exchange: str, mode: str) -> Any:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ran = now if mode in self.started else "2026-01-01T01:01:01Z"
        return {
            "login": self.login,
            "list": [{"etl_id": 321, "name": "Parrot", "run_configurations": []}],
            "status": {"status": "ENDED", "task_id": 321, "exit_code": "OK", "last_exec_ts": ran},
        }.get(exchange, {"task_execution_request_id": 7, "request_status": "OK"})

    def _bad(self, mode: str, exchange: str, headers: dict[str, str], body: str) -> tuple[str, str]:
        _exchange, status, style = mode.split("-")
        everything = {**self.secrets, **self.login}
        if status == "200":
            word = " ".join(everything.values())
            shapes: dict[str, Any] = {
                "login": {**self.login, "tenant_name": word},
                "list": [{"etl_id": 321, "name": word, "run_configurations": [{"name": word, "x": [word]}]}],
                "status": {"status": word, "exit_code": word, "last_exec_ts": word, "task_id": 321},
                "run": {"task_execution_request_id": word, "request_status": word},
            }
            return json.dumps(shapes[exchange]), "application/json"
        if exchange == "login" and style not in ("json", "nested", "java"):
            # Tokens that were never handed out can be recognized only by the names of their fields.
            everything = self.secrets
        echo = {"error": "Unexpected", **everything, "headers": headers, "body": body}
        return styled(echo, style)


class _Handler(BaseHTTPRequestHandler):
    server: Parrot
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each response takes 40 ms

    def do_GET(self) -> None:
        parrot = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8")
        mode, path = self.path[1:].split("/", 1)
        last = path.rstrip("/").rpartition("/")[2]
        exchange = "list" if last == "etls" else last
        parrot.requests.append(f"{mode} {exchange}")
        if exchange == "run":
            parrot.started.add(mode)
        status, content, kind = 200, json.dumps(parrot.good(exchange, mode)), "application/json"
        if mode.startswith(f"{exchange}-"):
            status = int(mode.split("-")[1])
            content, kind = parrot._bad(mode, exchange, dict(self.headers.items()), body)
        raw = content.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        if 300 <= status < 400:
            self.send_header("Location", f"https://elsewhere.invalid/?token={quote(parrot.login['json_web_token'])}")
        self.end_headers()
        self.wfile.write(raw)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *words: object) -> None:
        pass


def styled(echo: Mapping[str, Any], style: str) -> tuple[str, str]:
    """The same content as different servers would write it, and its type."""
    if style == "json":
        return json.dumps(echo), "application/json"
    if style == "nested":
        return json.dumps({"cause": json.dumps(echo, ensure_ascii=False)}), "application/json"
    if style == "java":  # Gson escapes these, and writes slashes plain; PHP does the contrary
        text = json.dumps(echo)
        for character in "<>&='":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text.replace("/", "\\/"), "application/json"
    if style == "page":
        rows = "".join(f"<li><b>{name}</b>: {html.escape(str(value))}</li>" for name, value in echo.items())
        return f"<html><head><style>b {{}}</style></head><body><ul>{rows}</ul></body></html>", "text/html"
    if style == "quoted":
        return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in echo.items()), "text/plain"
    if style == "base64":
        return " ".join(base64.b64encode(f"{n}:{v}".encode()).decode() for n, v in echo.items()), "text/plain"
    return "\n".join(f"{name} is {value}" for name, value in echo.items()), "text/plain"
