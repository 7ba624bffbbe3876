# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bare client of the API, without any cleverness: it says what the server answered. Standard library only."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .client import SimulatorProcess

ETLS = "/opt/api/v1/backend/etls/"
LOGIN = "/ims/api/v1/access_keys/login"
REFRESH = "/ims/api/v1/auth/tokens"
JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Probe:
    """Keeps one connection for as long as the server lets it."""

    def __init__(self, simulator: SimulatorProcess, timeout: float = 10) -> None:
        self._simulator = simulator
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self.token: str | None = None

    def login(self, **changes: Any) -> Reply:
        """Log in with the simulator's keys; `changes` to the body may spoil that. A token is kept for later calls."""
        keys = {
            "access_key": self._simulator.access_key,
            "access_secret_key": self._simulator.access_secret_key,
        }
        reply = self.call("POST", LOGIN, {**keys, **changes})
        if reply.status == 200:
            self.token = reply.json["json_web_token"]
        return reply

    def refresh(self, token: str) -> Reply:
        return self.call("POST", REFRESH, {"token": token})

    def list(self) -> Reply:
        return self.call("GET", ETLS)

    def status(self, etl_id: int | str) -> Reply:
        return self.call("GET", f"{ETLS}{etl_id}/status")

    def run(self, etl_id: int | str, **properties: Any) -> Reply:
        return self.call("POST", f"{ETLS}{etl_id}/run", {"run_execution_properties": properties})

    def schedule(self, etl_id: int | str, **properties: Any) -> Reply:
        return self.call("POST", f"{ETLS}{etl_id}/schedule", {"run_execution_properties": properties})

    def stop(self, etl_id: int | str) -> Reply:
        return self.call("POST", f"{ETLS}{etl_id}/stop")

    def kill(self, etl_id: int | str) -> Reply:
        return self.call("POST", f"{ETLS}{etl_id}/kill")

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None) -> Reply:
        """Any request. `body` goes as JSON unless it is bytes; a header of None is left out."""
        wanted: dict[str, str | None] = {"Accept": JSON, "Content-Type": JSON}
        if self.token:
            wanted["Authorization"] = f"Bearer {self.token}"
        wanted.update(headers or {})
        sent = {name: value for name, value in wanted.items() if value is not None}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self._connect()
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        except BaseException:
            self.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            address = urlsplit(self._simulator.url)
            host = address.hostname or ""
            if address.scheme == "https":
                context = ssl.create_default_context(cafile=self._simulator.ca_file)
                self._connection = http.client.HTTPSConnection(
                    host, address.port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, address.port, timeout=self._timeout)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
