# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a simulator from a test and control it. Standard library only."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

_PACKAGE = Path(__file__).resolve().parent
_START_SECONDS = 60.0


class SimulatorError(RuntimeError):
    """The simulator did not start, or refused a control call."""


class Control:
    """The control interface. Every call opens its own connection and ignores proxies."""

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        self._url = f"{url}/_simulator"
        context = ssl.create_default_context(cafile=ca_file)
        if ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any control call, such as `call("GET", "/clock")`."""
        content = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, content, method=method)  # noqa: S310  the address of the simulator
        try:
            with self._opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise SimulatorError(json.load(error)["error"]) from None

    def reset(self, scenario: str | Mapping[str, Any] | None = None) -> None:
        """Delete everything and load this scenario; by default, the one from the start of the simulator."""
        self.call("POST", "/reset", {} if scenario is None else {"scenario": scenario})

    def configure(self, **config: Any) -> Any:
        return self.call("PUT", "/config", config)

    def config(self) -> Any:
        return self.call("GET", "/config")

    def put_etl(self, etl_id: int, **fields: Any) -> Any:
        """Create the ETL, or replace it completely."""
        return self.call("PUT", f"/etls/{etl_id}", fields)

    def patch_etl(self, etl_id: int, **fields: Any) -> Any:
        """Change some fields of the ETL."""
        return self.call("PATCH", f"/etls/{etl_id}", fields)

    def delete_etl(self, etl_id: int) -> None:
        self.call("DELETE", f"/etls/{etl_id}")

    def status(self, etl_id: int) -> Any:
        """The true state of the ETL, independently of what the API shows."""
        return self.call("GET", f"/etls/{etl_id}")

    def etls(self) -> Any:
        return self.call("GET", "/etls")

    def start(self, etl_id: int, **fields: Any) -> Any:
        """Another client starts the ETL: `duration` and `exit` of this execution, `after` (simulated seconds)."""
        return self.call("POST", f"/etls/{etl_id}/start", fields)

    def finish(self, etl_id: int, **fields: Any) -> Any:
        """End what is executing: `exit`, `state`, `after` (simulated seconds)."""
        return self.call("POST", f"/etls/{etl_id}/finish", fields)

    def fault(self, match: Mapping[str, Any], fault: Mapping[str, Any], skip: int = 0, times: int = 1) -> Any:
        """Make matching requests go wrong: the first `skip` pass, then `times` are hit (-1: all)."""
        rule = {"match": dict(match), "fault": dict(fault), "skip": skip, "times": times}
        return self.call("POST", "/faults", rule)

    def faults(self) -> Any:
        return self.call("GET", "/faults")

    def clear_faults(self) -> None:
        self.call("DELETE", "/faults")

    def requests(self, since: int = 0, **where: Any) -> list[dict[str, Any]]:
        """Requests to the API after number `since`; `where` filters, such as `exchange="run"`."""
        entries: list[dict[str, Any]] = self.call("GET", f"/requests?since={since}")
        return [entry for entry in entries if all(entry[name] == value for name, value in where.items())]

    def executions(self, etl_id: int | None = None) -> list[dict[str, Any]]:
        """Every execution that began."""
        found: list[dict[str, Any]] = self.call("GET", "/executions")
        return [execution for execution in found if etl_id in (None, execution["etl_id"])]

    def counters(self) -> dict[str, Any]:
        """Counts of requests by kind, and of executions by ETL id (integers)."""
        result: dict[str, Any] = self.call("GET", "/counters")
        for name in ("accepted_by_etl", "launches_by_etl"):
            result[name] = {int(etl_id): count for etl_id, count in result[name].items()}
        return result

    def clock(self) -> Any:
        return self.call("GET", "/clock")

    def advance(self, seconds: float) -> Any:
        """Move simulated time forward."""
        return self.call("POST", "/clock", {"advance": seconds})

    def speed(self, factor: float) -> Any:
        return self.call("POST", "/clock", {"speed": factor})

    def put_key(self, access_key: str, **fields: Any) -> Any:
        """Create, rotate, deactivate, expire, or restrict an access key."""
        return self.call("PUT", "/keys", {"access_key": access_key, **fields})

    def access_keys(self) -> Any:
        return self.call("GET", "/keys")

    def revoke_tokens(self, refresh_too: bool = False) -> None:
        """Refuse every JWT issued so far."""
        self.call("POST", "/tokens/revoke", {"refresh_too": refresh_too})

    def outage(self, seconds: float, mode: str = "reset") -> None:
        """Make the API unavailable for some simulated seconds: `reset`, `503`, or `502`."""
        self.call("POST", "/outage", {"seconds": seconds, "mode": mode})

    def wait_until(self, is_so: Callable[[Control], Any], timeout: float = 10.0) -> Any:
        """Call `is_so(control)` until it returns something true; return that."""
        deadline = time.monotonic() + timeout
        while not (result := is_so(self)):
            if time.monotonic() > deadline:
                raise SimulatorError(f"The condition was not met within {timeout:g} seconds.")
            time.sleep(0.02)
        return result


class SimulatorProcess:
    """A simulator in its own process, which ends with the `with` block or with the process that started it."""

    url: str
    page: str
    ca_file: str | None
    control: Control
    access_key = "SIMULATEDACCESSKEY0123456789AB"
    access_secret_key = "simulatedSecretKey0123456789abcdefghijklmnopqrstuv"
    tenant_id = "1234567890"

    def __init__(
        self,
        https: bool = True,
        speed: float = 1.0,
        extra_args: Sequence[str] = (),
        scenario: str = "empty",
        stop_after: float = 1800,
    ) -> None:
        # Another Python can be set if that of the tests does not have the libraries of the server.
        self._python = os.environ.get("HELIX_SIMULATOR_PYTHON") or sys.executable
        self._arguments = [
            *("--https" if https else "--http", "--quiet", "--stop-with-stdin"),
            *("--speed", str(speed), "--scenario", scenario, "--stop-after", str(stop_after)),
            *extra_args,
        ]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """The variables that connect the collection to this simulator."""
        values = {
            "HELIX_URL": self.url,
            "HELIX_ACCESS_KEY": self.access_key,
            "HELIX_ACCESS_SECRET_KEY": self.access_secret_key,
        }
        return {**values, **({"HELIX_CA_PATH": self.ca_file} if self.ca_file else {"HELIX_ALLOW_HTTP": "true"})}

    @property
    def state_dir(self) -> Path:
        """Contains ca.pem, server.pem (key and certificate), ready.json, and log.txt."""
        assert self._folder is not None, "the simulator is not running"
        return Path(self._folder.name)

    def start(self) -> SimulatorProcess:
        self._folder = tempfile.TemporaryDirectory(prefix="helix-simulator-")
        command = [self._python, str(_PACKAGE), "--state-dir", self._folder.name, *self._arguments]
        with (self.state_dir / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
        ready_file = self.state_dir / "ready.json"
        deadline = time.monotonic() + _START_SECONDS
        while not ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.state_dir / "log.txt").read_text(encoding="utf-8", errors="replace")
                self.stop()
                raise SimulatorError(f"The simulator did not start ({self._python}).\n{log_text}")
            time.sleep(0.01)
        ready = json.loads(ready_file.read_text(encoding="utf-8"))
        self.url, self.page, self.ca_file = ready["url"], ready["page"], ready["ca_file"]
        has_odd_certificate = "--certificate" in self._arguments
        self.control = Control(self.url, None if has_odd_certificate else self.ca_file)
        return self

    def stop(self) -> None:
        if self._process is not None:
            with self._process as process:  # its end closes the pipe and waits
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> SimulatorProcess:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
