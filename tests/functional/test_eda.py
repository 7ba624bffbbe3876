# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source etl_events: alone, and in a real ansible-rulebook with the sample rulebook."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.functional.network.servers import RawServer
from tests.functional.support import INVENTORY, ROOT, SITE_PACKAGES, assert_no_secret, base_environment
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
        ([], [OK, OK], [[], []]),
        ([], [OK, RUNNING, level("WAITING", "OK", 2)], [[], ["etl_started"], ["etl_succeeded"]]),
        ([], [OK, AGAIN], [[], ["etl_succeeded"]]),
        ([], [OK, BAD, AGAIN], [[], ["etl_failed"], ["etl_succeeded", "etl_recovered"]]),
        ([], [BAD, BAD], [["etl_failed"], []]),
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


class Watch:
    """The source in a thread, with a queue that the test reads."""

    def __init__(self, plugin: dict[str, Any], arguments: dict[str, Any]) -> None:
        self.events: list[dict[str, Any]] = []
        self.error: Optional[BaseException] = None
        self._loop = asyncio.new_event_loop()
        self._main = plugin["main"]
        self._task: Optional[asyncio.Task[None]] = None
        self._thread = threading.Thread(target=self._run, args=(arguments,))
        self._thread.start()

    async def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def _run(self, arguments: dict[str, Any]) -> None:
        async def run() -> None:
            self._task = asyncio.ensure_future(self._main(self, arguments))
            await self._task

        try:
            self._loop.run_until_complete(run())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def types(self, *ignored: str) -> list[str]:
        return [event["type"] for event in self.events if event["type"] not in ignored]

    def until(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.events
            assert self._thread.is_alive(), self.error
            time.sleep(0.05)

    def join(self, seconds: float = 40) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive()

    def end(self, afterwards: Callable[[], object] = lambda: None) -> None:
        """Cancel it, and wait until its coroutine, and then its thread, is over."""
        deadline = time.monotonic() + 20
        if self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            while not self._task.done():
                assert time.monotonic() < deadline
                time.sleep(0.02)
        afterwards()
        self.join()


@pytest.fixture
def watch(
    plugin: dict[str, Any], simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Watch]]:
    """Start the source, which polls more often than its options allow."""
    checked = plugin["_options"]
    monkeypatch.setitem(plugin, "_options", lambda arguments: {**checked(arguments), "interval": 0.2})
    monkeypatch.setitem(plugin, "SETTLE", 0.3)
    running: list[Watch] = []
    names = {"HELIX_URL": "url", "HELIX_ACCESS_KEY": "access_key", "HELIX_ACCESS_SECRET_KEY": "access_secret_key"}
    connection = {names.get(k, k[6:].lower()): v for k, v in simulator.environment().items() if k.startswith("HELIX_")}

    def start(**arguments: Any) -> Watch:
        running.append(Watch(plugin, {**connection, "interval": 1, "retries": 0, **arguments}))
        return running[-1]

    yield start
    for one in running:
        one.end()


def polls(simulator: SimulatorProcess) -> int:
    return int(simulator.control.counters()["lists"])


def test_a_failure_a_recovery_and_an_outage(
    watch: Callable[..., Watch], simulator: SimulatorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    control = simulator.control
    control.put_etl(1, name="[PROD] Nightly", state="ENDED", last_exec_age=600)
    control.put_etl(2, name="Other", state="ENDED", exit_code="ERROR")
    source = watch(name_pattern="[prod]*", expectations=[{"etl_id": 1, "max_age": "1h", "labels": {"team": "a"}}])
    source.until(lambda: polls(simulator) > 1)
    assert source.events == []
    control.start(1, duration=0.1, exit="ERROR")
    source.until(lambda: "etl_failed" in source.types())
    control.start(1, duration=0.1, exit="OK")
    source.until(lambda: "etl_recovered" in source.types())
    control.outage(1)
    source.until(lambda: "tenant_reachable" in source.types())
    control.advance(7200)
    source.until(lambda: "etl_late" in source.types())
    expected = ["etl_failed", "etl_succeeded", "etl_recovered", "tenant_unreachable", "tenant_reachable", "etl_late"]
    assert source.types("etl_started") == expected
    failed = next(event for event in source.events if event["type"] == "etl_failed")
    assert (failed["name"], failed["labels"], failed["initial"]) == ("[PROD] Nightly", {"team": "a"}, False)
    assert (failed["before"]["exit_code"], failed["after"]["exit_code"]) == ("OK", "ERROR")
    late = source.events[-1]
    assert late["age_seconds"] > 3600
    assert late["reasons"] == ["last run is older than 60 min"]
    numbers = [event["meta"]["uuid"] for event in source.events]
    assert len(set(numbers)) == len(numbers)
    counters = control.counters()
    assert counters["writes"] == 0
    # One for the start, one after the token ran out with the time that was pushed forward.
    assert counters["logins"] <= 2
    assert_no_secret(json.dumps(source.events) + caplog.text, [simulator.access_secret_key])


def test_a_restart_repeats_nothing_and_misses_nothing(
    watch: Callable[..., Watch], simulator: SimulatorProcess, tmp_path: Path
) -> None:
    control, state = simulator.control, tmp_path / "state.json"
    control.put_etl(1, state="ENDED", exit_code="ERROR", last_exec_age=60)
    first = watch(state_file=str(state))
    first.until(lambda: first.types() == ["etl_failed"])
    assert first.events[0]["initial"] is True
    first.end()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert_no_secret(state.read_text(), [simulator.access_secret_key])
    control.start(1, duration=0, exit="OK")
    before = polls(simulator)
    second = watch(state_file=str(state))
    second.until(lambda: polls(simulator) > before + 1)
    assert second.types() == ["etl_succeeded", "etl_recovered"]
    second.end()
    # Without the file, the number of an event is still the same.
    control.put_etl(2, state="ENDED", exit_code="ERROR", last_exec_ts="2026-01-31T23:59:59Z")
    third, fourth = watch(etl_id=2), watch(etl_id=[2])
    for source in (third, fourth):
        source.until(lambda source=source: bool(source.events))  # type: ignore[misc]
    assert third.events[0]["meta"] == fourth.events[0]["meta"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"intervall": 5}, "Unknown options of etl_events: intervall"),
        ({"interval": 0}, "interval is 0"),
        ({"interval": "nan"}, "interval is nan"),
        ({"max_parallel": 101}, "max_parallel is 101"),
        ({"url": ""}, "url"),
        ({"expectations": [{"name_pattern": "*", "max_age": "late"}]}, "max_age is 'late', which is not a duration"),
        ({"access_secret_key": "wrong-secret-key-of-the-test"}, "401"),
        ({"state_file": "/nowhere/state.json"}, "/nowhere/state.json cannot be written: No such file or directory"),
    ],
)
def test_it_ends_at_once(
    watch: Callable[..., Watch], simulator: SimulatorProcess, arguments: dict[str, Any], message: str
) -> None:
    source = watch(**arguments)
    source.join()
    assert message in str(source.error)
    assert type(source.error).__name__ == "EventSourceError"
    assert "wrong-secret-key" not in str(source.error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "it is not a state of this event source") for text in ("{", "[]", '{"etls": {"1": {}}}')),
        ('{"format": 2, "url": "x", "etls": {}}', "is of format 2 and tenant x"),
    ],
)
def test_a_state_file_that_cannot_be_used(watch: Callable[..., Watch], tmp_path: Path, text: str, message: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    source = watch(state_file=str(state))
    source.join()
    assert message in str(source.error)
    assert state.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_cancellation_does_not_wait_for_a_server_that_hangs(watch: Callable[..., Watch]) -> None:
    asked, over = threading.Event(), threading.Event()

    def hang(_socket: object) -> None:
        asked.set()
        over.wait(60)

    with RawServer(hang) as server:
        source = watch(url=server.url, allow_http=True, request_timeout=50)
        source.until(asked.is_set)
        source.end(over.set)


# ---- a real ansible-rulebook


class Controller(ThreadingHTTPServer):
    """As much of AWX as run_job_template needs."""

    launched: list[dict[str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Controller

    def do_GET(self) -> None:
        template = {
            "id": 7,
            "type": "job_template",
            "name": "Call for help",
            "summary_fields": {"organization": {"name": "Default"}},
            "related": {"launch": "/api/v2/job_templates/7/launch/"},
            **dict.fromkeys(("ask_limit_on_launch", "ask_labels_on_launch", "ask_inventory_on_launch"), True),
            "ask_variables_on_launch": True,
        }
        job = {"id": 1, "status": "successful", "artifacts": {}, "url": "/api/v2/jobs/1/"}
        job |= dict.fromkeys(("created", "finished"), "")
        page = {"count": 1, "results": [template if "templates" in self.path else job], "next": None}
        single = {"/api/v2/jobs/1/": job, "/api/v2/config/": {"version": "4.6.0"}}
        self._answer(single.get(self.path, page))

    def do_POST(self) -> None:
        self.server.launched.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer({"url": "/api/v2/jobs/1/", "id": 1, "status": "pending"})

    def _answer(self, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def controller() -> Iterator[Controller]:
    server = Controller(("127.0.0.1", 0), Handler)
    server.launched = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.full
@pytest.mark.skipif(
    not RULEBOOK.exists() or not shutil.which("java"),
    reason="needs Java 17 and ansible-rulebook: see tests/requirements/rulebook.in",
)
def test_the_sample_rulebook(simulator: SimulatorProcess, controller: Controller, home: Path, tmp_path: Path) -> None:
    control = simulator.control
    control.put_etl(1, name="Nightly", state="ENDED", last_exec_age=60, duration=0.2, exits=["ERROR", "OK"])
    control.put_etl(2, name="Silent", state="ENDED", last_exec_age=60)
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
    env = {
        **base_environment(home),
        **simulator.environment(),
        "ANSIBLE_COLLECTIONS_PATH": str(tree),
        "HELIX_RETRIES": "0",
    }
    env["PATH"] = os.pathsep.join([str(RULEBOOK.parent), env["PATH"]])
    for name in ("ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED", "ANSIBLE_LOAD_CALLBACK_PLUGINS"):
        del env[name]
    command = [RULEBOOK, "-r", "capacityops.bmc_helix.etl_events", "-i", INVENTORY, "--vars", tmp_path / "vars.json"]
    command += ["--print-events", "-vv", "--controller-url", f"http://127.0.0.1:{controller.server_port}"]
    command += ["--controller-token", "x"]
    output = tmp_path / "output"
    with output.open("w", encoding="utf-8") as handle:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT, env=env, cwd=tmp_path
        )
    try:

        def until(condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(0.1)

        def shown(name: str) -> int:
            return len(re.findall(rf"'type': '{name}'|\"type\": \"{name}\"", output.read_text(encoding="utf-8")))

        until(lambda: polls(simulator) > 1)
        # It fails twice: by itself, and when the rulebook reruns it.
        control.start(1, exit="ERROR")
        until(lambda: len(controller.launched) == 1)
        assert control.counters()["launches_by_etl"] == {1: 1}
        control.start(1)
        until(lambda: shown("etl_recovered") > 0)
        control.advance(7200)
        until(lambda: len(controller.launched) == 2)
        control.outage(4)
        until(lambda: "cannot be reached" in output.read_text(encoding="utf-8") and shown("tenant_reachable") > 0)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
    text = output.read_text(encoding="utf-8")
    events = [launch["extra_vars"]["etl_event"] for launch in controller.launched]
    assert [(event["type"], event["etl_id"]) for event in events] == [("etl_failed", 1), ("etl_late", 2)]
    assert events[1]["labels"] == {"team": "capacity"}
    assert control.counters()["launches_by_etl"] == {1: 1}
    assert_no_secret(text, [simulator.access_secret_key])
    assert "Traceback" not in text
