# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a program and says what it took: time, processor, memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """One program that has ended. Processor time and peak memory are those of it and all its descendants."""

    seconds: float
    cpu_seconds: float
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
    return Run(
        seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit, text, [json.loads(line) for line in lines]
    )


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of pairs measured one right after the other, in which the machine's moods cancel out."""
    return statistics.median(a / b for a, b in zip(above, below))
