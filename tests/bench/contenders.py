# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contenders: this collection, a hand-written playbook, a bare script. It is checked that all do the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.functional.support import INVENTORY, base_environment
from tests.simulator.client import SimulatorProcess

HERE = Path(__file__).parent
DURATION = 1.0
FIRST_ID = 1001


@dataclass
class Run:
    """One program that has ended. The peak memory is that of its largest process."""

    seconds: float
    peak_mb: float
    output: str
    tasks: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)

    def verdicts(self) -> dict[int, str]:
        """The exit code that each ETL was last seen with."""
        found: dict[int, str] = {}
        for task in self.tasks:
            found.update({int(etl_id): word for etl_id, word in task["verdicts"].items()})
        return found


def run(command: Sequence[object], env: Mapping[str, str], folder: Path, stdin: str = "") -> Run:
    """Run a program to its end.

    :raises RuntimeError: it failed.
    """
    stem = folder / f"run-{time.monotonic_ns()}"
    tasks = stem.with_suffix(".jsonl")
    given, output = stem.with_suffix(".in"), stem.with_suffix(".out")
    given.write_text(stdin, encoding="utf-8")
    with given.open("rb") as source, output.open("wb") as target:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=source,
            stdout=target,
            stderr=subprocess.STDOUT,
            env={**env, "ANSIBLE_STOPWATCH_FILE": str(tasks)},
            cwd=folder,
        )
        _pid, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}:\n{text[-4000:]}")
    # Linux counts memory in KiB, macOS in bytes.
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    lines = tasks.read_text(encoding="utf-8").splitlines() if tasks.exists() else []
    return Run(seconds, used.ru_maxrss / unit, text, [json.loads(line) for line in lines])


class Arena:
    """A simulator, a clean environment, and the ways to run ETLs against it."""

    def __init__(self, simulator: SimulatorProcess, folder: Path) -> None:
        self.simulator = simulator
        self.folder = folder
        self.env = {
            **base_environment(folder),
            **simulator.environment(),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "stopwatch",
        }
        self.etl_ids: list[int] = []

    @staticmethod
    @contextmanager
    def opened() -> Iterator[Arena]:
        with SimulatorProcess() as simulator, tempfile.TemporaryDirectory(prefix="helix-bench-") as folder:
            yield Arena(simulator, Path(folder))

    # -- the scene --------------------------------------------------------------------------------------------------

    def prepare(self, count: int, latency_ms: int = 0, duration: float = DURATION, **fields: Any) -> None:
        """ETLs that ran a day ago. Every fifth one ends with WARNING."""
        self.etl_ids = list(range(FIRST_ID, FIRST_ID + count))
        etls = [
            {"id": etl_id, "state": "ENDED", "duration": duration, "exit": _exit_of(etl_id), **fields}
            for etl_id in self.etl_ids
        ]
        self.simulator.control.reset({"config": {"latency_ms": latency_ms}, "etls": etls})

    def checked(self, done: Run) -> Run:
        """The run, if all ETLs ran exactly once and their exits were seen.

        :raises RuntimeError: a comparison would not be one.
        """
        done.counters = self.simulator.control.counters()
        if done.counters["launches_by_etl"] != dict.fromkeys(self.etl_ids, 1):
            raise RuntimeError(f"Not every ETL ran once: {done.counters['launches_by_etl']}")
        if done.verdicts() != {etl_id: _exit_of(etl_id) for etl_id in self.etl_ids}:
            raise RuntimeError(f"Wrong verdicts: {done.verdicts()}")
        return done

    # -- the contenders ---------------------------------------------------------------------------------------------

    def playbook(self, path: Path, variables: Mapping[str, Any]) -> Run:
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", INVENTORY, path]
        return run([*command, "--extra-vars", json.dumps(dict(variables))], self.env, self.folder)

    def ours(self, max_parallel: int) -> Run:
        variables = {"etl_ids": self.etl_ids, "max_parallel": max_parallel}
        return self.checked(self.playbook(HERE / "playbooks" / "ours.yml", variables))

    def uri(self, look_every: int = 1) -> Run:
        """:param look_every: seconds between two looks."""
        name = "uri.yml" if len(self.etl_ids) == 1 else "uri_loop.yml"
        variables = {"etl_ids": self.etl_ids, "look_every": look_every}
        return self.checked(self.playbook(HERE / "playbooks" / name, variables))

    def bare(self) -> Run:
        done = run([sys.executable, HERE / "bare.py", len(self.etl_ids), *self.etl_ids], self.env, self.folder)
        done.tasks = [{"verdicts": json.loads(done.output)}]
        return self.checked(done)

    def ping(self) -> Run:
        return self.playbook(HERE / "playbooks" / "ping.yml", {})

    def tasks(self, tasks: Sequence[Mapping[str, Any]]) -> Run:
        path = self.folder / "tasks.yml"
        play = {"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}
        path.write_text(json.dumps([play]), encoding="utf-8")
        return self.playbook(path, {})

    def ended_at(self) -> float:
        """When the last execution ended, by the server's clock, which is this machine's."""
        return max(float(execution["ended_at"]) for execution in self.simulator.control.executions())


def _exit_of(etl_id: int) -> str:
    return "WARNING" if etl_id % 5 == 0 else "OK"
