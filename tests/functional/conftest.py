# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the functional tests; TESTING.md describes them for the writer of a test."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from tests.functional.support import (
    COLLECTION,
    INVENTORY,
    ModuleRun,
    Played,
    assert_no_secret,
    base_environment,
    run_ansible,
    run_process,
    without_internals,
    write_playbook,
)
from tests.simulator.client import SimulatorProcess


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[SimulatorProcess]:
    """One HTTPS server for all tests of this process (with pytest-xdist: of this worker)."""
    with SimulatorProcess(https=True) as process:
        yield process


@pytest.fixture
def simulator(simulator_process: SimulatorProcess) -> SimulatorProcess:
    """The server, as new."""
    simulator_process.control.reset()
    return simulator_process


@pytest.fixture
def start_simulator() -> Iterator[Callable[..., SimulatorProcess]]:
    """Start a server of the test's own, for example `start_simulator(https=False)`; it ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(SimulatorProcess(**arguments))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without a .netrc, an ansible.cfg or an installed collection."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def environment(home: Path, simulator: SimulatorProcess) -> dict[str, str]:
    """The process environment of modules and playbooks; HELIX_* point to the simulator."""
    return {**base_environment(home), **simulator.environment()}


@pytest.fixture
def module(environment: dict[str, str]) -> Callable[..., ModuleRun]:
    """Run a module's file as Ansible's wrapper would: `module("etl_action", action="run", etl_id=321)`.

    `check`, `diff`, `env` (added to the environment; None takes a variable away) and `timeout` are not passed on.
    """

    def run(
        name: str,
        *,
        check: bool = False,
        diff: bool = False,
        env: Optional[Mapping[str, Optional[str]]] = None,
        timeout: float = 120,
        **arguments: Any,
    ) -> ModuleRun:
        given = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}}
        command = [sys.executable, "-m", f"ansible_collections.{COLLECTION}.plugins.modules.{name}"]
        done = run_process(command, _merged(environment, env), environment["HOME"], timeout, json.dumps(given))
        assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        result = ModuleRun(without_internals(json.loads(done.stdout)), done.returncode, done.stdout, done.stderr)
        assert (result.rc != 0) == result.failed
        return result

    return run


@pytest.fixture
def program(environment: dict[str, str], simulator: SimulatorProcess, tmp_path: Path) -> Callable[..., Played]:
    """Run a program of Ansible.

    Warnings and secrets in the output fail the test, unless `allow_warnings` or `allow_secrets` is set.
    """

    def run(
        *command: object,
        check: bool = False,
        diff: bool = False,
        verbosity: int = 0,
        env: Optional[Mapping[str, Optional[str]]] = None,
        timeout: float = 250,
        allow_warnings: bool = False,
        allow_secrets: bool = False,
    ) -> Played:
        switches = ["--check"] * check + ["--diff"] * diff + ["-" + "v" * verbosity] * bool(verbosity)
        played = run_ansible([*command, *switches], _merged(environment, env), tmp_path, timeout)
        if not allow_secrets:
            assert_no_secret(played.output, [simulator.access_secret_key])
        if not allow_warnings:
            assert played.warnings == [], played.output
        return played

    return run


@pytest.fixture
def play(program: Callable[..., Played], tmp_path: Path) -> Callable[..., Played]:
    """Run tasks (YAML text or a list of dictionaries) with ansible-playbook; text of a whole play is taken as it is."""

    def run(
        tasks: Union[str, list[dict[str, Any]]],
        *,
        extra: Optional[Mapping[str, Any]] = None,
        hosts: str = "localhost",
        inventory: Union[str, Path] = INVENTORY,
        variables: Optional[Mapping[str, Any]] = None,
        arguments: tuple[str, ...] = (),
        **keywords: Any,
    ) -> Played:
        playbook = write_playbook(tmp_path, tasks, hosts, variables or {})
        more = ["--extra-vars", json.dumps(dict(extra))] if extra else []
        return program("ansible-playbook", "-i", inventory, playbook, *more, *arguments, **keywords)

    return run


@pytest.fixture
def playbook(play: Callable[..., Played]) -> Callable[..., Played]:
    """Run a playbook of the collection: `playbook("etl_health", {"etl_health_html": "…"})`."""

    text = f"- ansible.builtin.import_playbook: {COLLECTION}."
    return lambda name, variables=None, **keywords: play(f"{text}{name}\n", extra=variables, **keywords)


@pytest.fixture
def adhoc(program: Callable[..., Played]) -> Callable[..., Played]:
    """Run one module with the `ansible` command: `adhoc("etl_action", {"action": "run", "etl_id": 321})`."""

    command = ["ansible", "localhost", "-i", INVENTORY, "-m"]
    return lambda name, args, **keywords: program(
        *command, f"{COLLECTION}.{name}", "-a", json.dumps(dict(args)), **keywords
    )


def _merged(environment: Mapping[str, str], changes: Optional[Mapping[str, Optional[str]]]) -> dict[str, str]:
    merged: dict[str, Optional[str]] = {**environment, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
