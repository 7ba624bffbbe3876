# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench`: run the races, print the table, and draw docs/images/bench.svg."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Union

from tests.bench import chart
from tests.functional.support import COLLECTION, INVENTORY, ROOT, Played, base_environment, run_ansible, write_playbook
from tests.simulator.client import SimulatorProcess

HERE = Path(__file__).parent
CHART = ROOT / "docs" / "images" / "bench.svg"
TITLES = {
    "ours": "etl_action",
    "eight": "etl_action, 8 at a time",
    "bare": "bare script",
    "uri": "uri playbook",
    "unhurried": "uri playbook with the default delay of 5 s",
}
Tasks = list[dict[str, Any]]


class Arena:
    """A simulator, a clean environment, and the contenders that run ETLs and wait for their ends."""

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

    def prepare(self, count: int, latency_ms: int = 0, duration: float = 1.0) -> None:
        """ETLs that ran a day ago. Every fifth one ends with WARNING."""
        self.etl_ids = list(range(1001, 1001 + count))
        usual = {"state": "ENDED", "duration": duration}
        etls = [{"id": etl_id, "exit": "OK" if etl_id % 5 else "WARNING", **usual} for etl_id in self.etl_ids]
        self.simulator.control.reset({"config": {"latency_ms": latency_ms}, "etls": etls})

    def play(self, tasks: Union[Path, Tasks], **variables: Any) -> Played:
        path = tasks if isinstance(tasks, Path) else write_playbook(self.folder, tasks, "localhost", {})
        command = ["ansible-playbook", "-i", INVENTORY, path, "--extra-vars", json.dumps(variables)]
        played = run_ansible(command, self.env, self.folder, timeout=3600)
        if played.rc:
            raise RuntimeError(f"The playbook failed:\n{played.output[-4000:]}")
        return played

    def ours(self, max_parallel: int) -> Played:
        options = {"action": "run", "etl_id": self.etl_ids, "max_parallel": max_parallel}
        return self.play([{"name": "etl_action", f"{COLLECTION}.etl_action": options}])

    def contender(self, who: str) -> float:
        """The seconds that the whole command takes. Each contender fails unless all exits are OK or WARNING."""
        began = time.monotonic()
        if who == "ping":
            self.play([{"ansible.builtin.ping": {}}])
            return time.monotonic() - began
        if who in ("uri", "unhurried"):
            self.play(HERE / "uri.yml", etl_ids=self.etl_ids, delay=1 if who == "uri" else 5)
        elif who == "bare":
            subprocess.run([sys.executable, HERE / "bare.py", *map(str, self.etl_ids)], env=self.env, check=True)
        else:
            self.ours(8 if who == "eight" else min(len(self.etl_ids), 100))
        seconds = time.monotonic() - began
        executions = self.simulator.control.executions()
        if sorted(e["etl_id"] for e in executions if e["ended_at"]) != self.etl_ids or len(executions) > len(
            self.etl_ids
        ):
            raise RuntimeError(f"{TITLES[who]}: not every ETL ran exactly once and to its end.")
        return seconds


def row(what: str, value: str, aim: str = "", met: bool = True) -> str:
    verdict = f"{aim}: {'reached' if met else 'MISSED'}" if aim else ""
    return f"  {what:<72}  {value:<24} {verdict}".rstrip()


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios of neighbors, because the speed of a machine changes over minutes."""
    return median(a / b for a, b in zip(above, below))


def races(arena: Arena, rounds: int, data: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """Run ETLs of one second, and wait for their ends. The long loops of uri run once."""
    for count, latency_ms in ((1, 0), (1, 50), (30, 0), (30, 50), (100, 0), (100, 50)):
        name = f"{count} {'ETL' if count == 1 else 'ETLs'}, {latency_ms} ms"
        spent: dict[str, list[float]] = {}
        words: dict[str, str] = {}
        for number in range(rounds if count == 1 else rounds // 2 + 1):
            rare = ("uri", "unhurried") if count == 1 else ("uri", "eight") if number == 0 else ()
            for who in ("ours", "bare", "ping", *rare):
                arena.prepare(count, latency_ms)
                spent.setdefault(who, []).append(arena.contender(who))
                counted = arena.simulator.control.counters()
                words[who] = "{logins} logins, {requests} requests, {connections} connections".format(**counted)
        data[name] = spent
        for who in (who for who in TITLES if who in spent):
            yield row(f"{name}: {TITLES[who]} ({words[who]})", f"{median(spent[who]):.2f} s")
        times, least = ratio(spent["uri"], spent["ours"]), {1: 2.0, 30: 0.0, 100: 40.0}[count]
        yield row(f"{name}: uri / etl_action", f"{times:.2f}", f"at least {least:g}" if least else "", times >= least)
        if "unhurried" in spent:
            yield row(f"{name}: the unhurried one / etl_action", f"{ratio(spent['unhurried'], spent['ours']):.2f}")
        times = ratio(spent["ours"], [a + b for a, b in zip(spent["bare"], spent["ping"])])
        aim = "at most 1.3" if count == 100 else ""
        yield row(f"{name}: etl_action / (script + ping)", f"{times:.2f}", aim, times <= 1.3)


def idle(arena: Arena, rounds: int) -> Iterator[str]:
    """A task that finds its ETL running and does not wait, beside tasks that do as little."""
    arena.prepare(1)
    arena.simulator.control.start(1001, duration=3600)
    address = {"url": f"{arena.simulator.url}/_simulator/clock", "ca_path": arena.simulator.ca_file}
    tasks: Tasks = [
        {"name": "ping", "ansible.builtin.ping": {}},
        {"name": "uri", "ansible.builtin.uri": address},
        {"name": "etl_action", f"{COLLECTION}.etl_action": {"action": "run", "etl_id": 1001, "wait": False}},
    ]
    done = arena.play(tasks * (3 * rounds + 1)).tasks
    # The first of each pays for what the later ones find in a cache.
    spent = {
        name: [task["seconds"] for task in done if task.task == name][1:] for name in ("ping", "uri", "etl_action")
    }
    for name, seconds in spent.items():
        yield row(f"nothing to do: {name}", f"{median(seconds):.3f} s")
    times = ratio(spent["etl_action"], spent["ping"])
    yield row("nothing to do: etl_action / ping", f"{times:.2f}", "at most 1.6", times <= 1.6)


def ends(arena: Arena, rounds: int, durations: tuple[int, ...]) -> Iterator[str]:
    """From an ETL's end on the server, whose clock is this machine's, to the end of the task."""
    for duration in durations:
        late = []
        for number in range(rounds if duration < 60 else 2):
            # Ends that fall differently between two polls.
            arena.prepare(1, duration=duration + 0.13 * number)
            ended_at = arena.ours(1).task("etl_action")["ended_at"]
            late.append(ended_at - arena.simulator.control.executions()[0]["ended_at"])
        words = f"{median(late):.2f} s (longest {max(late):.2f})"
        aim = "under 1 s" if duration <= 10 else ""
        yield row(f"run of {duration} s: from its end to the end of the task", words, aim, median(late) < 1.0)


def thousand(arena: Arena) -> Iterator[str]:
    arena.prepare(1000)
    yield row("1,000 ETLs of 1 s, 100 at a time", f"{arena.contender('ours'):.1f} s")
    # Linux counts memory in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))
    yield row("peak memory of the largest process so far", f"{peak:.0f} MB", "under 100 MB", peak < 100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the short races (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    options = parser.parse_args()
    data: dict[str, dict[str, list[float]]] = {}
    print(f"Load: {os.getloadavg()[0]:.2f}. A busy machine makes the figures worthless.", flush=True)
    with SimulatorProcess() as simulator, tempfile.TemporaryDirectory(prefix="helix-bench-") as folder:
        arena = Arena(simulator, Path(folder))
        sections = [idle(arena, options.rounds), ends(arena, options.rounds, (1, 10) if options.quick else (1, 10, 60))]
        if not options.quick:
            sections += [thousand(arena), races(arena, options.rounds, data)]
        for section in sections:
            for line in section:
                print(line, flush=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    versions = f"Python {platform.python_version()}, ansible-core {importlib.metadata.version('ansible-core')}"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}, {versions}")
    if data:
        CHART.write_text(chart.draw(data, machine), encoding="utf-8")


if __name__ == "__main__":
    main()
