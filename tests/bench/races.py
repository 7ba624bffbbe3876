# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The races, in the order of the table. Each returns rows for the table and plain data for bench.json."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.bench.contenders import MODULE, Arena
from tests.bench.measuring import Run, median, ratio
from tests.functional.support import COLLECTION

Log = Callable[[str], None]
LEFT_OUT = "left out by --quick"


class Row(NamedTuple):
    """One line of the table; C(aim) is None where nothing is aimed at."""

    what: str
    value: str
    aim: str = ""
    met: bool | None = None


class Section(NamedTuple):
    title: str
    rows: list[Row]
    data: dict[str, Any]


class Scale(NamedTuple):
    """How often things are measured. The loops of uri take minutes, so they are measured once."""

    rounds: int
    rounds_many: int
    full: bool


def race(arena: Arena, count: int, latency_ms: int, rounds: int, loops: int) -> dict[str, list[Run]]:
    """So many rounds of all contenders, one after the other, so that each meets the machine in the same mood."""
    done: dict[str, list[Run]] = {"ours": [], "uri": [], "unhurried": [], "bare": [], "ping": [], "default": []}
    for number in range(rounds):
        arena.prepare(count, latency_ms)
        done["ours"].append(arena.ours(min(count, 100)))
        arena.prepare(count, latency_ms)
        done["bare"].append(arena.bare())
        done["ping"].append(arena.ping())
        if number < loops:
            arena.prepare(count, latency_ms)
            done["uri"].append(arena.uri())
        if count == 1 and number < 3:
            arena.prepare(count, latency_ms)
            done["unhurried"].append(arena.uri(look_every=5))
        if count > 1 and number == 0:
            arena.prepare(count, latency_ms)
            done["default"].append(arena.ours(8))
    return done


def _spent(runs: Sequence[Run]) -> list[float]:
    return [run.seconds for run in runs]


def races(arena: Arena, scale: Scale, log: Log) -> Section:
    rows: list[Row] = []
    data: dict[str, Any] = {}
    for count in (1, 30, 100):
        for latency_ms in (0, 50):
            name = f"{count} {'ETL' if count == 1 else 'ETLs'}, {latency_ms} ms"
            log(name)
            rounds = scale.rounds if count == 1 else scale.rounds_many
            loops = rounds if count == 1 else int(latency_ms == 0 or count < 100 or scale.full)
            done = race(arena, count, latency_ms, rounds, loops)
            rows += _race_rows(name, count, done)
            data[name] = {
                who: {
                    "seconds": _spent(runs),
                    "cpu_seconds": [run.cpu_seconds for run in runs],
                    "counters": runs[0].counters,
                }
                for who, runs in done.items()
                if runs
            }
    return Section("Run ETLs of 1 s and wait for their ends (wall time of the whole command)", rows, data)


def _race_rows(name: str, count: int, done: dict[str, list[Run]]) -> list[Row]:
    ours, uri = _spent(done["ours"]), _spent(done["uri"])
    script = [a + b for a, b in zip(_spent(done["bare"]), _spent(done["ping"]))]
    rows = [Row(f"{name}: etl_action", f"{median(ours):.2f} s")]
    if done["default"]:
        rows.append(Row(f"{name}: etl_action, 8 at a time", f"{median(_spent(done['default'])):.2f} s"))
    rows.append(Row(f"{name}: bare script", f"{median(_spent(done['bare'])):.2f} s"))
    if uri:
        times = ratio(uri, ours)
        least = 2.0 if count == 1 else 40.0 if count == 100 else None
        aim = "" if least is None else f"at least {least:g}"
        rows.append(Row(f"{name}: uri playbook", f"{median(uri):.2f} s"))
        rows.append(Row(f"{name}: uri / etl_action", f"{times:.2f}", aim, None if least is None else times >= least))
    else:
        rows.append(Row(f"{name}: uri playbook", LEFT_OUT))
    if done["unhurried"]:
        unhurried = _spent(done["unhurried"])
        rows.append(Row(f"{name}: uri playbook, Ansible's default delay of 5 s", f"{median(unhurried):.2f} s"))
        times = ratio(unhurried, ours)
        rows.append(Row(f"{name}: that / etl_action", f"{times:.2f}"))
    times = ratio(ours, script)
    most = 1.3 if count == 100 else None
    aim = "" if most is None else f"at most {most:g}"
    rows.append(
        Row(f"{name}: etl_action / (script + ping)", f"{times:.2f}", aim, None if most is None else times <= most)
    )
    for who, label in (("ours", "etl_action"), ("uri", "uri playbook"), ("bare", "bare script")):
        if done[who]:
            counters = done[who][0].counters
            words = f"{counters['logins']}, {counters['requests']}, {counters['connections']}"
            rows.append(Row(f"{name}: logins, requests, connections of {label}", words))
    return rows


def idle(arena: Arena, scale: Scale, log: Log) -> Section:
    """A task that finds its ETL running and has nothing to wait for, beside tasks that do as little."""
    log("a task with nothing to do")
    arena.prepare(1)
    etl_id = arena.etl_ids[0]
    arena.simulator.control.start(etl_id, duration=3600)
    address = {"url": f"{arena.simulator.url}/_simulator/clock", "ca_path": arena.simulator.ca_file}
    tasks: list[dict[str, Any]] = [
        {"name": "ping", "ansible.builtin.ping": {}},
        {"name": "uri", "ansible.builtin.uri": address},
        {"name": "ours", f"{COLLECTION}.etl_action": {"action": "run", "etl_id": etl_id, "wait": False}},
    ]
    # The first of each pays for what the later ones find in a cache.
    done = arena.tasks(tasks * (3 * scale.rounds + 1))
    spent = {name: [t["seconds"] for t in done.tasks if t["task"] == name][1:] for name in ("ping", "uri", "ours")}
    rows = [
        Row("ansible.builtin.ping", f"{median(spent['ping']):.3f} s"),
        Row("ansible.builtin.uri, one GET", f"{median(spent['uri']):.3f} s"),
        Row("etl_action (a login and one look)", f"{median(spent['ours']):.3f} s"),
        Row("etl_action / ping", f"{ratio(spent['ours'], spent['ping']):.2f}"),
        Row("etl_action / uri", f"{ratio(spent['ours'], spent['uri']):.2f}"),
    ]
    return Section("A task that has nothing to do (time of the task)", rows, {"seconds": spent})


def ends(scale: Scale, log: Log) -> Section:
    """From an ETL's end on the server to the end of the task. The long ones wait beside the short ones."""
    log("how soon an end is noticed")
    plans = [(1, 2 * scale.rounds), (10, scale.rounds // 2 + 1)]
    if scale.full:
        plans += [(60, 1)] * 3
    late: dict[int, list[float]] = {duration: [] for duration, _times in plans}
    problems: list[Exception] = []

    def watch(duration: int, times: int, offset: float) -> None:
        try:
            with Arena.opened() as arena:
                for number in range(times):
                    # Ends that fall differently between two looks.
                    arena.prepare(1, duration=duration + 0.13 * number + offset)
                    done = arena.ours(1)
                    late[duration].append(done.tasks[0]["ended_at"] - arena.ended_at())
        except Exception as error:  # noqa: BLE001 - raised again below, in the main thread
            problems.append(error)

    threads = [threading.Thread(target=watch, args=(*plan, 0.7 * number)) for number, plan in enumerate(plans)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    rows = []
    for duration, seconds in late.items():
        short = duration <= 10
        aim, met = ("under 1 s", median(seconds) < 1.0) if short else ("", None)
        words = f"{median(seconds):.2f} s (longest {max(seconds):.2f})"
        rows.append(Row(f"run of {duration} s: task's end after ETL's end", words, aim, met))
    if 60 not in late:
        rows.append(Row("run of 60 s: task's end after ETL's end", LEFT_OUT))
    return Section("How soon an end is noticed", rows, {"seconds": late})


def thousand(arena: Arena, scale: Scale, log: Log) -> Section:
    log("1,000 ETLs")
    arena.prepare(1000)
    play = arena.ours(100)
    arena.prepare(1000)
    module = arena.module(100)
    rows = [
        Row("ansible-playbook, 100 at a time", f"{play.seconds:.1f} s"),
        Row("peak memory of its largest process", f"{play.peak_mb:.0f} MB", "under 100 MB", play.peak_mb < 100),
        Row("the module alone, 100 at a time", f"{module.seconds:.1f} s"),
        Row("peak memory of the module", f"{module.peak_mb:.0f} MB", "under 100 MB", module.peak_mb < 100),
        Row("logins, requests, connections", "{logins}, {requests}, {connections}".format(**play.counters)),
    ]
    data = {
        who: {"seconds": run.seconds, "cpu_seconds": run.cpu_seconds, "peak_mb": run.peak_mb, "counters": run.counters}
        for who, run in (("play", play), ("module", module))
    }
    return Section("1,000 ETLs of 1 s", rows, data)


def imports(arena: Arena, scale: Scale, log: Log) -> Section:
    log("imports")
    names = {
        "ansible.module_utils.basic (every module)": "ansible.module_utils.basic",
        "the same and ansible.module_utils.urls (uri)": "ansible.module_utils.urls",
        "the same and requests": "ansible.module_utils.basic, requests",
        "etl_action, all in all": MODULE,
    }
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _round in range(2 * scale.rounds + 1):
        for name, modules in names.items():
            code = f"import time; began = time.perf_counter(); import {modules}; print(time.perf_counter() - began)"
            command = [sys.executable, "-c", code]
            output = subprocess.run(command, env=arena.env, capture_output=True, text=True, check=True).stdout
            spent[name].append(float(output))
    rows = [Row(name, f"{1000 * median(seconds):.0f} ms") for name, seconds in spent.items()]
    return Section("Imports", rows, {"seconds": spent})


def waiting(arena: Arena, scale: Scale, log: Log) -> Section:
    """What a wait costs the machine, and what of it is live progress."""
    seconds = 45
    title = f"Processor time of a wait of {seconds} s for 3 ETLs"
    if not scale.full:
        return Section(title, [Row("all", LEFT_OUT)], {})
    log("processor time of a wait")
    spent: dict[str, float] = {}
    arena.prepare(3, duration=seconds)
    spent["etl_action with live progress"] = arena.ours(8).cpu_seconds
    task = {"action": "run", "etl_id": arena.etl_ids}
    arena.prepare(3, duration=seconds)
    # Ansible writes into the home folder of the user and reads in that of HOME.
    where = {"ansible_async_dir": str(arena.folder / "async")}
    done = arena.tasks([{f"{COLLECTION}.etl_action": task, "async": 600, "poll": 5, "vars": where}])
    spent["etl_action with async (one piece)"] = arena.checked(done).cpu_seconds
    arena.prepare(3, duration=seconds)
    spent["the module alone, without Ansible"] = arena.module(8).cpu_seconds
    arena.prepare(3, duration=seconds)
    spent["bare script"] = arena.bare().cpu_seconds
    sleeping = [{"ansible.builtin.command": f"sleep {seconds}"}]
    spent["ansible.builtin.command: sleep"] = arena.tasks(sleeping).cpu_seconds
    spent["a playbook with one ping"] = arena.ping().cpu_seconds
    return Section(title, [Row(name, f"{value:.1f} s") for name, value in spent.items()], {"cpu_seconds": spent})


def all_sections(arena: Arena, scale: Scale, log: Log) -> Iterator[Section]:
    yield races(arena, scale, log)
    yield idle(arena, scale, log)
    yield ends(scale, log)
    yield thousand(arena, scale, log)
    yield imports(arena, scale, log)
    yield waiting(arena, scale, log)
