# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make bench`: run the races, print the table, and draw docs/images/bench.svg."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from tests.bench import chart
from tests.bench.contenders import Arena, Run
from tests.functional.support import COLLECTION, ROOT

CHART = ROOT / "docs" / "images" / "bench.svg"
Seconds = dict[str, list[float]]


class Row(NamedTuple):
    """One line of the table. C(aim) is empty if there is none."""

    what: str
    value: str
    aim: str = ""
    met: bool = True

    def __str__(self) -> str:
        verdict = f"{self.aim}: {'reached' if self.met else 'MISSED'}" if self.aim else ""
        return f"  {self.what:<72}  {self.value:<24} {verdict}".rstrip()


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios of neighbors, because the speed of a machine changes over minutes."""
    return median(a / b for a, b in zip(above, below))


def race(arena: Arena, count: int, latency_ms: int, rounds: int) -> dict[str, list[Run]]:
    """All contenders one after the other, several times. The long loops of uri run once."""
    done: dict[str, list[Run]] = {"ours": [], "bare": [], "ping": [], "uri": [], "unhurried": [], "eight": []}
    for number in range(rounds):
        plans: dict[str, Any] = {
            "ours": lambda: arena.ours(min(count, 100)),
            "bare": arena.bare,
            "ping": arena.ping,
        }
        if number == 0 or count == 1:
            plans["uri"] = arena.uri
        if number == 0 and count > 1:
            plans["eight"] = lambda: arena.ours(8)
        if number < 3 and count == 1:
            plans["unhurried"] = lambda: arena.uri(look_every=5)
        for who, plan in plans.items():
            arena.prepare(count, latency_ms)
            done[who].append(plan())
    return done


def races(arena: Arena, rounds: int, data: dict[str, Seconds]) -> Iterator[Row]:
    """Run ETLs of one second, and wait for their ends."""
    for count in (1, 30, 100):
        for latency_ms in (0, 50):
            name = f"{count} {'ETL' if count == 1 else 'ETLs'}, {latency_ms} ms"
            done = race(arena, count, latency_ms, rounds if count == 1 else rounds // 2 + 1)
            spent = data[name] = {who: [run.seconds for run in runs] for who, runs in done.items() if runs}
            titles = {"ours": "etl_action", "eight": "etl_action, 8 at a time", "bare": "bare script"}
            titles |= {"uri": "uri playbook", "unhurried": "uri playbook with the default delay of 5 s"}
            for who, title in titles.items():
                if who in spent:
                    counters = done[who][0].counters
                    words = "{logins} logins, {requests} requests, {connections} connections".format(**counters)
                    yield Row(f"{name}: {title} ({words})", f"{median(spent[who]):.2f} s")
            times, least = ratio(spent["uri"], spent["ours"]), {1: 2.0, 100: 40.0}.get(count, 0.0)
            yield Row(
                f"{name}: uri / etl_action", f"{times:.2f}", f"at least {least:g}" if least else "", times >= least
            )
            if "unhurried" in spent:
                yield Row(f"{name}: the unhurried one / etl_action", f"{ratio(spent['unhurried'], spent['ours']):.2f}")
            both = [a + b for a, b in zip(spent["bare"], spent["ping"])]
            times = ratio(spent["ours"], both)
            aim = "at most 1.3" if count == 100 else ""
            yield Row(f"{name}: etl_action / (script + ping)", f"{times:.2f}", aim, times <= 1.3)


def idle(arena: Arena, rounds: int) -> Iterator[Row]:
    """A task that finds its ETL running and does not wait, beside tasks that do as little."""
    arena.prepare(1)
    etl_id = arena.etl_ids[0]
    arena.simulator.control.start(etl_id, duration=3600)
    address = {"url": f"{arena.simulator.url}/_simulator/clock", "ca_path": arena.simulator.ca_file}
    tasks: list[dict[str, Any]] = [
        {"name": "ansible.builtin.ping", "ansible.builtin.ping": {}},
        {"name": "ansible.builtin.uri", "ansible.builtin.uri": address},
        {"name": "etl_action", f"{COLLECTION}.etl_action": {"action": "run", "etl_id": etl_id, "wait": False}},
    ]
    done = arena.tasks(tasks * (3 * rounds + 1))
    # The first of each pays for what the later ones find in a cache.
    spent = {task["name"]: [t["seconds"] for t in done.tasks if t["task"] == task["name"]][1:] for task in tasks}
    for name, seconds in spent.items():
        yield Row(f"nothing to do: {name}", f"{median(seconds):.3f} s")
    times = ratio(spent["etl_action"], spent["ansible.builtin.ping"])
    yield Row("nothing to do: etl_action / ping", f"{times:.2f}", "at most 1.6", times <= 1.6)


def ends(arena: Arena, rounds: int, durations: tuple[int, ...]) -> Iterator[Row]:
    """From an ETL's end on the server to the end of the task."""
    for duration in durations:
        late = []
        for number in range(rounds if duration < 60 else 2):
            # Ends that fall differently between two polls.
            arena.prepare(1, duration=duration + 0.13 * number)
            late.append(arena.ours(1).tasks[0]["ended_at"] - arena.ended_at())
        words = f"{median(late):.2f} s (longest {max(late):.2f})"
        aim = "under 1 s" if duration <= 10 else ""
        yield Row(f"run of {duration} s: from its end to the end of the task", words, aim, median(late) < 1.0)


def thousand(arena: Arena) -> Iterator[Row]:
    arena.prepare(1000)
    done = arena.ours(100)
    yield Row("1,000 ETLs of 1 s, 100 at a time", f"{done.seconds:.1f} s")
    yield Row("peak memory of the largest process", f"{done.peak_mb:.0f} MB", "under 100 MB", done.peak_mb < 100)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the short races (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    options = parser.parse_args()
    data: dict[str, Seconds] = {}
    print(f"Load: {os.getloadavg()[0]:.2f}. A busy machine makes the figures worthless.", flush=True)
    with Arena.opened() as arena:
        sections = [idle(arena, options.rounds), ends(arena, options.rounds, (1, 10) if options.quick else (1, 10, 60))]
        if not options.quick:
            sections += [races(arena, options.rounds, data), thousand(arena)]
        for section in sections:
            for row in section:
                print(row, flush=True)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    versions = f"Python {platform.python_version()}, ansible-core {importlib.metadata.version('ansible-core')}"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}, {versions}")
    if data:
        CHART.write_text(chart.draw(data, machine), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
