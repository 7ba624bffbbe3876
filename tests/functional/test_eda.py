# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source etl_events: alone, and in a real ansible-rulebook with the sample rulebook."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import RawServer

from tests.awx.fake_awx import TOKEN, FakeAwxServer
from tests.functional.support import (
    INVENTORY,
    ROOT,
    SITE_PACKAGES,
    assert_no_secret,
    started,
    wait_for,
    without_callbacks,
)
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.timeout(180)
FOLDER = Path("ansible_collections/capacityops/bmc_helix/extensions/eda/plugins/event_source")
RULEBOOK = Path(os.environ.get("HELIX_TESTS_RULEBOOK", ROOT / ".cache" / "rulebook")) / "bin" / "ansible-rulebook"


@pytest.fixture(scope="module")
def plugin() -> dict[str, Any]:
    """The source, loaded by its path as ansible-rulebook loads it. (pytest-ansible does not let runpy do it.)"""
    spec = importlib.util.spec_from_file_location("etl_events", SITE_PACKAGES / FOLDER / "etl_events.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


# ---- what a difference means


def level(status: Optional[str], exit_code: Optional[str] = None, minute: Optional[int] = None) -> dict[str, Any]:
    moment = None if minute is None else f"2026-01-01T00:{minute:02}:00Z"
    return {"status": status, "exit_code": exit_code, "last_exec_ts": moment}


OK, BAD, AGAIN = level("ENDED", "OK", 1), level("ENDED", "ERROR", 2), level("ENDED", "OK", 3)
RUNNING = level("RUNNING", "OK", 1)
STARTED_AND_RECOVERED = [["etl_failed"], ["etl_started"], ["etl_succeeded", "etl_recovered"]]
LATE = {"name_pattern": "*", "max_age": 60}
SERVICE = {"etl_id": 1, "states": ["SERVICE_ON"]}


@pytest.mark.parametrize(
    ("rules", "levels", "events"),
    [
        ([], [OK, RUNNING, level("WAITING", "OK", 2)], [[], ["etl_started"], ["etl_succeeded"]]),
        ([], [OK, BAD, AGAIN], [[], ["etl_failed"], ["etl_succeeded", "etl_recovered"]]),
        # The exit code beside RUNNING is that of the run before: nothing has recovered yet.
        ([], [BAD, level("RUNNING", "ERROR", 2), AGAIN], STARTED_AND_RECOVERED),
        # A server that stamps the start of a run.
        ([], [BAD, level("RUNNING", "ERROR", 3), level("ENDED", "OK", 3)], STARTED_AND_RECOVERED),
        ([], [RUNNING, level("RUNNING", "ERROR", 2)], [[], ["etl_failed", "etl_started"]]),
        ([], [OK, RUNNING, level("ABORTED", None, 1)], [[], ["etl_started"], ["etl_aborted"]]),
        ([], [OK, level("ENDED", "WARNING", 2)], [[], ["etl_warning"]]),
        ([], [OK, RUNNING, level("ENDED", None, 2)], [[], ["etl_started"], ["etl_failed"]]),
        ([], [level(None), level("RUNNING"), level("ENDED", "OK", 1)], [[], ["etl_started"], ["etl_succeeded"]]),
        ([], [level("SERVICE_OFF"), level("SERVICE_ON"), level("SERVICE_OFF")], [[], ["etl_started"], []]),
        # A schedule that is armed is no run.
        ([], [OK, level("WAITING", "OK", 1)], [[], []]),
        # A replica that lags, an odd response, and an undocumented state prove nothing.
        ([], [AGAIN, BAD, AGAIN], [[], [], []]),
        ([], [BAD, level(None), BAD], [["etl_failed"], [], []]),
        ([], [BAD, level("HELD"), BAD], [["etl_failed"], [], []]),
        ([], [OK, level("ENDED", "OK"), OK], [[], [], []]),
        # Late is reported once.
        (
            [LATE],
            [{"age_seconds": 60, **OK}, *[{"age_seconds": 61, **OK}] * 2, {"age_seconds": 99, **RUNNING}, AGAIN],
            [[], ["etl_late"], [], ["etl_started"], ["etl_succeeded", "etl_recovered"]],
        ),
        (
            [SERVICE],
            [level("SERVICE_ON"), *[level("SERVICE_OFF")] * 2, level("SERVICE_ON")],
            [[], ["etl_failed"], [], ["etl_started", "etl_recovered"]],
        ),
    ],
)
def test_differences(plugin: dict[str, Any], rules: list[Any], levels: list[Any], events: list[list[str]]) -> None:
    expectations = plugin["health"].parse_expectations(rules)
    told, old = [], None
    for found in levels:
        verdict = plugin["health"].judge_one({"etl_id": 1, "name": "x", "age_seconds": 5, **found}, expectations)
        names, old = plugin["compare"](old, verdict)
        told.append(names)
    assert told == events


# ---- the source alone


class Source:
    """The source in the loop of the test, which is also its queue."""

    def __init__(self, main: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self.events: list[dict[str, Any]] = []
        self.task = asyncio.ensure_future(main(self, arguments))

    async def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < deadline, self.events
            assert not self.task.done(), self.task
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task], timeout=20)
        assert self.task.cancelled()


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@pytest.fixture
def watch(
    plugin: dict[str, Any], simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Source]:
    """Start the source, which polls more often than its options allow."""
    checked = plugin["_options"]
    monkeypatch.setitem(plugin, "_options", lambda arguments: {**checked(arguments), "interval": 0.2})
    monkeypatch.setitem(plugin, "SETTLE", 0.3)
    given = {"url": simulator.url, "ca_path": simulator.ca_file, "interval": 1, "retries": 0}
    given |= {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
    return lambda **arguments: Source(plugin["main"], {**given, **arguments})


def polls(simulator: SimulatorProcess) -> int:
    return int(simulator.control.counters()["lists"])


@in_a_loop
async def test_a_failure_a_recovery_and_an_outage(
    watch: Callable[..., Source], simulator: SimulatorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    control = simulator.control
    control.put_etl(1, name="[PROD] Nightly", state="ENDED", last_exec_age=600)
    control.put_etl(2, name="Other", state="ENDED", exit_code="ERROR")
    source = watch(name_pattern="[prod]*", expectations=[{"etl_id": 1, "max_age": "1h", "labels": {"team": "a"}}])
    await source.until(lambda: polls(simulator) > 1)
    assert source.events == []
    control.start(1, duration=0.1, exit="ERROR")
    await source.until(lambda: "etl_failed" in source.types())
    control.start(1, duration=0.1, exit="OK")
    await source.until(lambda: "etl_recovered" in source.types())
    control.outage(1)
    await source.until(lambda: "tenant_reachable" in source.types())
    control.advance(7200)
    await source.until(lambda: "etl_late" in source.types())
    expected = ["etl_failed", "etl_succeeded", "etl_recovered", "tenant_unreachable", "tenant_reachable", "etl_late"]
    assert [name for name in source.types() if name != "etl_started"] == expected
    failed, late = source.events[source.types().index("etl_failed")], source.events[-1]
    assert (failed["name"], failed["labels"], failed["initial"]) == ("[PROD] Nightly", {"team": "a"}, False)
    assert (failed["before"]["exit_code"], failed["after"]["exit_code"]) == ("OK", "ERROR")
    assert late["age_seconds"] > 3600
    assert late["reasons"] == ["last run is older than 60 min"]
    assert len({event["meta"]["uuid"] for event in source.events}) == len(source.events)
    counters = control.counters()
    assert counters["writes"] == 0
    # One for the start, one after the token ran out with the time that was pushed forward.
    assert counters["logins"] <= 2
    assert_no_secret(json.dumps(source.events) + caplog.text, [simulator.access_secret_key])


@in_a_loop
async def test_a_restart_repeats_nothing_and_misses_nothing(
    watch: Callable[..., Source], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    control, state = simulator.control, tmp_path / "state.json"
    control.put_etl(1, state="ENDED", exit_code="ERROR", last_exec_age=60)
    first = watch(state_file=str(state))
    await first.until(lambda: first.types() == ["etl_failed"])
    assert first.events[0]["initial"] is True
    await first.end()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert_no_secret(state.read_text(), [simulator.access_secret_key])
    control.start(1, duration=0, exit="OK")
    before = polls(simulator)
    second = watch(state_file=str(state))
    await second.until(lambda: polls(simulator) > before + 1)
    assert second.types() == ["etl_succeeded", "etl_recovered"]
    await second.end()
    # Without the file, the number of an event is still the same.
    control.put_etl(2, state="ENDED", exit_code="ERROR", last_exec_ts="2026-01-31T23:59:59Z")
    third, fourth = watch(etl_id=2), watch(etl_id=[2])
    await third.until(lambda: bool(third.events and fourth.events))
    assert third.events[0]["meta"] == fourth.events[0]["meta"]


STATE = {"format": 1, "url": "x", "reachable": True, "seen_at": None, "etls": {}}


@pytest.mark.parametrize(
    ("arguments", "stored", "message"),
    [
        ({"intervall": 5}, None, "Unknown options of etl_events: intervall"),
        ({"interval": 0}, None, "interval is 0"),
        ({"interval": "nan"}, None, "interval is nan"),
        ({"max_parallel": 101}, None, "max_parallel is 101"),
        ({"url": ""}, None, "url"),
        ({"expectations": [{"name_pattern": "*", "max_age": "late"}]}, None, "'late', which is not a duration"),
        ({"access_secret_key": "wrong-secret-key-of-the-test"}, None, "401"),
        ({"state_file": "/nowhere/state.json"}, None, "/nowhere/state.json cannot be written: No such file"),
        *(({}, text, "it is not a state of this event source") for text in ("{", "[]", '{"etls": {"1": {}}}')),
        ({}, json.dumps({**STATE, "format": 2}), "is of format 2 and tenant x"),
        ({}, json.dumps(STATE), "is of format 1 and tenant x"),
    ],
)
@in_a_loop
async def test_it_ends_at_once(
    watch: Callable[..., Source], tmp_path: Path, arguments: dict[str, Any], stored: Optional[str], message: str
) -> None:
    state = tmp_path / "state.json"
    if stored:
        state.write_text(stored)
        arguments = {"state_file": str(state)}
    with pytest.raises(Exception, match=re.escape(message)) as error:
        await asyncio.wait_for(watch(**arguments).task, 40)
    assert error.typename == "EventSourceError"
    assert "wrong-secret-key" not in str(error.value)
    if stored:
        assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(state, stored)]


@in_a_loop
async def test_cancellation_does_not_wait_for_a_server_that_hangs(watch: Callable[..., Source]) -> None:
    asked, over, began = threading.Event(), threading.Event(), time.monotonic()

    def hang(_socket: object) -> None:
        asked.set()
        over.wait(60)

    with RawServer(hang) as server:
        source = watch(url=server.url, allow_http=True, request_timeout=50)
        await source.until(asked.is_set)
        await source.end()
        over.set()
        assert time.monotonic() - began < 30


# ---- a real ansible-rulebook


@pytest.fixture
def fake_awx() -> Iterator[FakeAwxServer]:
    with FakeAwxServer() as server:
        yield server


@pytest.mark.full
@pytest.mark.skipif(
    not RULEBOOK.exists() or not shutil.which("java"),
    reason="needs Java 17 and ansible-rulebook: see tests/requirements/rulebook.in",
)
def test_the_sample_rulebook(
    simulator: SimulatorProcess, environment: dict[str, str], fake_awx: FakeAwxServer, tmp_path: Path
) -> None:
    control, awx = simulator.control, fake_awx.awx
    control.put_etl(1, name="Nightly", state="ENDED", last_exec_age=60, duration=0.2, exits=["ERROR", "OK"])
    control.put_etl(2, name="Silent", state="ENDED", last_exec_age=60)
    prompts = [f"ask_{name}_on_launch" for name in ("limit", "labels", "inventory", "variables")]
    awx.create("job_templates", {"name": "Call for help", **dict.fromkeys(prompts, True)})
    tree = tmp_path / "tree"
    link = tree / "ansible_collections" / "capacityops" / "bmc_helix"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT)
    variables = {
        "etl_interval": 1,
        "etl_job_template": "Call for help",
        "etl_organization": "Default",
        "etl_expectations": [{"etl_id": 2, "max_age": "1h", "labels": {"team": "capacity"}}],
    }
    (tmp_path / "vars.json").write_text(json.dumps(variables))
    env = {**without_callbacks(environment), "ANSIBLE_COLLECTIONS_PATH": str(tree), "HELIX_RETRIES": "0"}
    env["PATH"] = os.pathsep.join([str(RULEBOOK.parent), env["PATH"]])
    command = [RULEBOOK, "-r", "capacityops.bmc_helix.etl_events", "-i", INVENTORY, "--vars", tmp_path / "vars.json"]
    command += ["--print-events", "-vv", "--controller-url", fake_awx.url, "--controller-token", TOKEN]
    output = tmp_path / "output"

    def shown(pattern: str) -> bool:
        return re.search(pattern, output.read_text(encoding="utf-8")) is not None

    with started(command, env, output) as process:
        wait_for(lambda: polls(simulator) > 1, output)
        # It fails twice: by itself, and when the rulebook reruns it.
        control.start(1, exit="ERROR")
        wait_for(lambda: len(awx.launched) == 1, output)
        assert control.counters()["launches_by_etl"] == {1: 1}
        control.start(1)
        wait_for(lambda: shown("type.: .etl_recovered"), output)
        control.advance(7200)
        wait_for(lambda: len(awx.launched) == 2, output)
        control.outage(4)
        wait_for(lambda: shown("cannot be reached") and shown("type.: .tenant_reachable"), output)
        process.terminate()
        process.wait(30)
    events = [launch["extra_vars"]["etl_event"] for launch in awx.launched]
    assert [(event["type"], event["etl_id"]) for event in events] == [("etl_failed", 1), ("etl_late", 2)]
    assert events[1]["labels"] == {"team": "capacity"}
    assert control.counters()["launches_by_etl"] == {1: 1}
    assert_no_secret(output.read_text(encoding="utf-8"), [simulator.access_secret_key])
    assert not shown("Traceback")
