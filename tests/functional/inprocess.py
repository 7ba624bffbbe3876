# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module's own `main()` in this process, against the simulator, on time that stands still.

A wait of hours takes milliseconds, because its sleeps push the simulator's time forward. That makes hundreds of cases
affordable; `module` and `play` show the same as real processes.

Test files load the fixtures with `pytest_plugins`, after they imported the rest: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional
from unittest import mock
from urllib.parse import urlsplit

import pytest
import yaml
from ansible.module_utils import basic
from ansible_collections.capacityops.bmc_helix.plugins.modules import etl_action, etl_info, etl_wait, tenant_info
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import FakeClock

from tests.functional.support import Result, base_environment, without_internals
from tests.simulator.client import SimulatorProcess

MODULES = {"etl_action": etl_action, "etl_info": etl_info, "etl_wait": etl_wait, "tenant_info": tenant_info}
#: A fault that never comes to an end must not make a test wait for ever. Simulated seconds.
_LONGEST_LIFE = 200_000.0
_SHORT = 0.05
_TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


class SimulatedClock(FakeClock):
    """The library's clock. Its sleep pushes the simulator forward, stopping where something is to happen.

    `linger` is how many real seconds its sleeps take together, for faults that delay an answer in real time.
    """

    # An answer of the simulator takes real time.
    first_sleeps, first_pause, patience = 20, 0.005, 20

    def __init__(self, url: str) -> None:
        super().__init__()
        address = urlsplit(url)
        # Kept open: it is used for every sleep.
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        self.linger = 0.0
        self._wall = time.time()
        self._events: list[tuple[float, Callable[[], Any]]] = []

    def at(self, seconds: float, happens: Callable[[], Any]) -> None:
        """Let something happen so many seconds after the start."""
        self._events.append((seconds, happens))
        self._events.sort(key=lambda event: event[0])

    def close(self) -> None:
        self._connection.close()

    def now(self) -> float:
        with self._changed:
            return self.elapsed

    def wall(self) -> float:
        return self._wall + self.now()

    def sleep(self, seconds: float) -> None:
        assert self.now() + seconds < _LONGEST_LIFE, "the library waits for ever"
        super().sleep(seconds)

    def _pass(self, target: float) -> None:
        while self._events and self._events[0][0] <= target:
            moment, happens = self._events.pop(0)
            self._go_to(moment)
            happens()
        self._go_to(target)
        if self.linger > 0:
            self.linger -= _SHORT
            time.sleep(_SHORT)

    def _go_to(self, moment: float) -> None:
        if moment > self.elapsed:
            self._connection.request("POST", "/_simulator/clock", json.dumps({"advance": moment - self.elapsed}))
            answer = self._connection.getresponse()
            answer.read()
            assert answer.status == 200
            self.elapsed = moment


@dataclass
class Done(Result):
    """What a module returned, and how long it believes that this took."""

    seconds: float

    @property
    def etl(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.result["etl"]
        return entry

    @property
    def outcome(self) -> Optional[str]:
        """The outcome of the single ETL; None if the task failed before it addressed one."""
        return self.result["etl"]["outcome"] if "etl" in self.result else None


class InProcess:
    """Modules in this process: `run("etl_action", action="run", etl_id=321)`."""

    def __init__(self, simulator: SimulatorProcess, home: Path) -> None:
        self.simulator = simulator
        self.environment = base_environment(home)
        self.control = simulator.control
        self.clock = SimulatedClock(simulator.url)
        self.connection: dict[str, Any] = {
            "url": simulator.url,
            "allow_http": True,
            # There is no TLS here, and reading the machine's authorities takes longer than a whole run.
            "validate_certs": False,
            "access_key": simulator.access_key,
            "access_secret_key": simulator.access_secret_key,
        }

    def __call__(self, name: str = "etl_action", *, check: bool = False, diff: bool = False, **options: Any) -> Done:
        details = {} if name.endswith("_info") else {"details": "full"}
        arguments = {**self.connection, **details, **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        began = self.clock.now()
        rc, text = self._main(name, {key: value for key, value in arguments.items() if value is not None})
        result = without_internals(json.loads(text))
        assert "Traceback" not in text, text
        assert result.get("error", {}).get("kind") != "internal_error", result["msg"]
        assert (rc != 0) == bool(result.get("failed"))
        return Done(result, self.clock.now() - began)

    def _main(self, name: str, arguments: Mapping[str, Any]) -> tuple[int, str]:
        module = MODULES[name]
        printed = io.StringIO()
        patches: list[Any] = [
            mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()),
            mock.patch.object(module, "Clock", return_value=self.clock),
            # In this process it would print them, as on a controller.
            mock.patch.object(basic.AnsibleModule, "warn", mock.Mock()),
            mock.patch.dict(os.environ, self.environment, clear=True),
        ]
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            patches.append(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy"))
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            stack.enter_context(contextlib.redirect_stdout(printed))
            try:
                module.main()
            except SystemExit as leave:
                return int(leave.code or 0), printed.getvalue()
        raise AssertionError(f"{name} did not exit")


def assert_documented(name: str, result: Mapping[str, Any]) -> None:
    """The result has the keys and types of the module's RETURN, and no others."""
    documented = yaml.safe_load(MODULES[name].RETURN)
    entries = documented["etls"]["contains"]
    if name == "etl_wait":  # which refers to the other module for the rest
        entries = yaml.safe_load(etl_action.RETURN)["etls"]["contains"]
        documented["action"] = {"type": "str"}
    known = {key: value for key, value in result.items() if key not in ("changed", "failed", "diff", "warnings")}
    known.pop("invocation", None)
    _assert_keys(known, documented, "result")
    for entry in result["etls"]:
        _assert_keys(entry, entries, "etls[]")
    if "error" in result:
        error = yaml.safe_load(etl_action.RETURN)["error"]["contains"]
        _assert_keys(result["error"], error, "error")
    assert bool(result.get("failed")) == ("error" in result)


def _assert_keys(values: Mapping[str, Any], documented: Mapping[str, Any], where: str) -> None:
    assert set(values) <= set(documented), f"{where}: {set(values) - set(documented)} is not documented"
    always = {key for key, about in documented.items() if str(about.get("returned", "")).startswith("always")}
    assert always <= set(values), f"{where}: {always - set(values)} is missing"
    for key, value in values.items():
        if value is not None:
            assert isinstance(value, _TYPES[documented[key]["type"]]), f"{where}.{key}: {value!r}"
            assert not (isinstance(value, bool) and documented[key]["type"] != "bool"), f"{where}.{key}: {value!r}"


@pytest.fixture(scope="session")
def resting_server() -> Iterator[SimulatorProcess]:
    """One plain HTTP server for the tests of this process whose time stands still."""
    with SimulatorProcess(https=False) as process:
        yield process


@pytest.fixture
def library(resting_server: SimulatorProcess, home: Path) -> Iterator[InProcess]:
    """The modules in this process, and the server as new."""
    resting_server.control.reset()
    resting_server.control.speed(0)
    library = InProcess(resting_server, home)
    yield library
    library.clock.close()
