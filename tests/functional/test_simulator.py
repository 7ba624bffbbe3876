# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, stopping and steering the simulator; its page, its documentation."""

from __future__ import annotations

import ast
import html.parser
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import control as control_module
from tests.simulator.__main__ import main
from tests.simulator.client import Control, SimulatorError, SimulatorProcess
from tests.simulator.describe import tables
from tests.simulator.probe import ETLS, Probe
from tests.simulator.world import World

FOLDER = Path(control_module.__file__).parent
ROOT = FOLDER.parent.parent


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(https=False) as process:
        yield process


@pytest.fixture
def control(sim: SimulatorProcess) -> Control:
    sim.control.reset()
    return sim.control


@pytest.fixture
def api(sim: SimulatorProcess, control: Control) -> Iterator[Probe]:
    probe = Probe(sim)
    probe.login()
    yield probe
    probe.close()


# --- the record ---------------------------------------------------------------------------------------------------


def test_every_request_is_recorded(api: Probe, control: Control) -> None:
    control.put_etl(321)
    since = control.requests()[-1]["n"]
    api.call("POST", f"{ETLS}321/run", {"run_execution_properties": {"a": "1"}}, {"User-Agent": "me/1"})
    api.call("GET", f"{ETLS}321/status", None, {"Accept": "text/html", "Authorization": None})
    run, status = control.requests(since=since)
    assert abs(run.pop("time") - time.time()) < 60
    assert abs(run.pop("real_time") - time.time()) < 60
    assert run == {
        "n": 2,
        "method": "POST",
        "path": f"{ETLS}321/run",
        "exchange": "run",
        "etl_id": 321,
        "write": True,
        "accept": "application/json",
        "content_type": "application/json",
        "user_agent": "me/1",
        "has_authorization": True,
        "token_serial": 1,
        "connection": 1,
        "body": {"run_execution_properties": {"a": "1"}},
        "status": 200,
        "accepted": True,
        "fault": None,
    }
    assert (status["status"], status["accept"], status["has_authorization"]) == (401, "text/html", False)
    assert (status["token_serial"], status["write"], status["body"]) == (None, False, None)


def test_record_holds_no_secret(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    refresh = api.login().json["token"]
    api.refresh(refresh)
    text = json.dumps([control.requests(), control.counters(), control.config()])
    for secret in (sim.access_secret_key, api.token, refresh):
        assert secret
        assert secret not in text


def test_token_serials_tell_logins_apart(api: Probe, control: Control) -> None:
    api.list()
    refresh = api.login().json["token"]
    api.list()
    api.token = api.refresh(refresh).json["json_web_token"]
    api.list()
    assert [entry["token_serial"] for entry in control.requests(exchange="list")] == [1, 2, 3]


def test_counters(api: Probe, control: Control) -> None:
    control.put_etl(321)
    control.put_etl(322, engine="refuses")
    api.list()
    api.status(321)
    api.run(321)
    api.run(322)
    api.run(323)
    api.schedule(321)
    api.refresh("wrong")
    assert control.counters() == {
        "requests": 8,
        "logins": 1,
        "refreshes": 1,
        "lists": 1,
        "statuses": 1,
        "writes": 4,
        "by_action": {"run": 3, "schedule": 1, "stop": 0, "kill": 0},
        "accepted_by_etl": {321: 2},
        "launches_by_etl": {321: 1},
        "unauthorized": 1,
        "connections": 1,
    }


def test_reset_forgets_everything(api: Probe, control: Control) -> None:
    control.put_etl(321)
    control.fault({}, {"kind": "status"}, times=-1)
    control.configure(token_life=5)
    control.outage(60)
    control.advance(1_000_000)
    control.reset()
    assert (control.etls(), control.faults(), control.requests(), control.executions()) == ([], [], [], [])
    assert control.config()["token_life"] == 900
    assert abs(control.clock()["now"] - time.time()) < 60
    assert api.list().status == 401, "tokens are gone too"
    assert control.counters()["connections"] == 1


def test_etls_come_and_go(control: Control) -> None:
    control.put_etl(1, name="one", duration=7)
    control.put_etl(2)
    control.put_etl(1, name="other")
    assert (control.status(1)["name"], control.status(1)["duration"]) == ("other", 5)
    assert control.patch_etl(1, duration=9)["name"] == "other"
    control.delete_etl(2)
    assert [etl["id"] for etl in control.etls()] == [1]
    with pytest.raises(SimulatorError, match="There is no ETL 2"):
        control.status(2)


def test_wait_until_gives_up(control: Control) -> None:
    with pytest.raises(SimulatorError, match="did not come true"):
        control.wait_until(lambda c: c.etls(), timeout=0.05)


# --- nonsense -----------------------------------------------------------------------------------------------------

NONSENSE: list[tuple[str, str, Any, str]] = [
    ("PUT", "/config", {"token_live": 5}, "no 'token_live'; it knows clock_skew"),
    ("PUT", "/config", {"token_life": "5"}, "'token_life' must be number, not '5'"),
    ("PUT", "/config", {"token_life": -1}, "must be at least 0"),
    ("PUT", "/config", {"token_life": True}, "must be number"),
    ("PUT", "/config", {"clock_skew": float("nan")}, "must be number"),
    ("PUT", "/config", {"clock_skew": 1e300}, "must be number"),
    ("PUT", "/config", {"refresh_mode": "sometimes"}, "one of works, refused, absent, rotates"),
    ("PUT", "/config", [], "must be a JSON object"),
    ("PUT", "/config", None, "must be a JSON object"),
    ("PUT", "/etls/x", {}, "not a whole number"),
    ("PUT", "/etls/321", {"colour": "blue"}, "no 'colour'"),
    ("PUT", "/etls/321", {"kind": "other"}, "batch, periodic, service"),
    ("PUT", "/etls/321", {"exits": [1]}, "'exits' must be a list of words"),
    ("PUT", "/etls/321", {"answers": {"fly": "OK"}}, "'answers' must map"),
    ("PUT", "/etls/321", {"last_exec_ts": "yesterday"}, "is not a time"),
    ("PUT", "/etls/321", {"last_exec_ts": "2026-13-01T00:00:00Z"}, "is not a time"),
    ("PATCH", "/etls/9", {}, "There is no ETL 9"),
    ("DELETE", "/etls/9", None, "There is no ETL 9"),
    ("POST", "/etls/9/start", {}, "There is no ETL 9"),
    ("POST", "/etls/7/start", {"lag": 1}, "A start has no 'lag'"),
    ("POST", "/etls/7/finish", {"exit": 1}, "'exit' must be text or null"),
    ("POST", "/faults", None, "must be a JSON object"),
    ("POST", "/faults", {"fault": {}}, "needs a 'kind'"),
    ("POST", "/faults", {"fault": {"kind": "fire"}}, "must be one of status"),
    ("POST", "/faults", {"fault": {"kind": "slow", "code": 3}}, "must be at least 200"),
    ("POST", "/faults", {"fault": {"kind": "slow", "code": 300}}, "A fault of kind slow has no 'code'"),
    ("POST", "/faults", {"fault": {"kind": "status", "code": 1000}}, "at most 599"),
    ("POST", "/faults", {"fault": {"kind": "status", "headers": {"a": "b\r\nc: d"}}}, "one line of text"),
    ("POST", "/faults", {"fault": {"kind": "status", "headers": {"a": 1}}}, "one line of text"),
    ("POST", "/faults", {"fault": {"kind": "slow"}, "times": "2"}, "'times' must be an integer"),
    ("POST", "/faults", {"fault": {"kind": "slow"}, "match": {"exchange": "fly"}}, "no exchange 'fly'"),
    ("POST", "/faults", {"fault": {"kind": "slow"}, "match": {"exchange": [{}]}}, "no exchange {}"),
    ("POST", "/faults", {"fault": {"kind": "slow"}, "match": {"etl_id": "x"}}, "'etl_id' must be an integer"),
    ("POST", "/faults", {"fault": {"kind": "slow"}, "when": 1}, "has no 'when'"),
    ("GET", "/requests?since=x", None, "'since' must be a whole number"),
    ("POST", "/clock", {"advance": -1}, "at least 0"),
    ("POST", "/clock", {"advance": "1"}, "at least 0"),
    ("POST", "/clock", {"back": 1}, "The clock has no 'back'"),
    ("PUT", "/keys", {}, "needs an 'access_key'"),
    ("PUT", "/keys", {"access_key": "new"}, "needs a 'secret'"),
    ("PUT", "/keys", {"access_key": "new", "secret": 1}, "'secret' must be text"),
    ("PUT", "/keys", {"access_key": "new", "secret": "s", "permissions": [[]]}, "list of read and write"),
    ("PUT", "/keys", {"access_key": "new", "secret": "s", "active": 1}, "must be true or false"),
    ("PUT", "/keys", {"access_key": "new", "secret": "s", "grace": "x"}, "number of seconds"),
    ("POST", "/outage", {"mode": "503"}, "'seconds' must be a number"),
    ("POST", "/outage", {"seconds": 1, "mode": "fire"}, "one of reset, 503, 502"),
    ("POST", "/reset", {"scenario": "other"}, "there are empty, demo"),
    ("POST", "/reset", {"scenario": {"etls": [{}]}}, "needs an 'id'"),
    ("POST", "/reset", {"scenario": {"etls": {}}}, "'etls' must be a list"),
    ("POST", "/reset", {"scenario": {"stuff": 1}}, "has no 'stuff'"),
    ("POST", "/tokens/revoke", {"all": 1}, "has no 'all'"),
    ("POST", "/tea", None, "There is no control call POST /_simulator/tea"),
    ("DELETE", "/config", None, "There is no control call DELETE /_simulator/config"),
]


@pytest.mark.parametrize(("method", "path", "body", "sentence"), NONSENSE)
def test_nonsense_is_answered_with_a_sentence(
    control: Control, method: str, path: str, body: Any, sentence: str
) -> None:
    control.put_etl(7, duration=None)
    control.start(7)
    with pytest.raises(SimulatorError, match=re.escape(sentence)):
        control.call(method, path, body)
    assert [etl["id"] for etl in control.etls()] == [7], "nothing has changed"
    assert [key["active"] for key in control.access_keys()] == [True]


def test_no_value_breaks_the_server(api: Probe, control: Control) -> None:
    """Whatever is put into any field, an ETL is accepted or refused with a sentence, and can then be asked for."""
    values: list[Any] = [None, True, -1, 1e10, "x", "9999-12-31T23:59:59Z", [None], {"run": None}]
    for name in sorted(control.put_etl(1)):
        if name in ("id", "executing", "not_begun", "scheduled"):
            continue
        for value in values:
            try:
                control.put_etl(1, **{name: value})
            except SimulatorError:
                continue
            for reply in (api.status(1), api.list(), api.run(1), api.kill(1)):
                assert reply.status in (200, 204)


def test_time_does_not_run_out(api: Probe, control: Control) -> None:
    control.configure(token_life=10**10, clock_skew=10**10)
    api.login()
    control.put_etl(1, state="ENDED", last_exec_ts="0001-01-01T00:00:00Z")
    for _number in range(40):
        control.advance(10**10)
    control.configure(token_life=10**10)
    api.login()
    assert api.status(1).status == 200
    assert api.run(1).status == 200
    control.advance(10)
    assert api.status(1).json["last_exec_ts"].startswith("9999-")


# --- processes ----------------------------------------------------------------------------------------------------


def test_it_starts_fast() -> None:
    def seconds_of_children() -> float:
        return os.times().children_user + os.times().children_system

    before = seconds_of_children()
    SimulatorProcess(https=False).start().stop()
    assert seconds_of_children() - before < 2, "usually under half a second, on a machine that is not busy"


@pytest.mark.parametrize("package", ["tests.simulator", "ansible_collections.capacityops.bmc_helix.tests.simulator"])
def test_command_line_from_both_names(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "No module named 'ansible_collections" in done.stderr:
        pytest.skip("this environment has no link to the collection")
    assert done.returncode == 0, done.stderr
    assert "--state-dir" in done.stdout


def test_greeting_and_self_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.simulator", "--state-dir", str(tmp_path), "--stop-after", "0.05"]
    command += ["--access-key", "mine", "--access-secret-key", "my secret"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    exports = dict(re.findall(r"export (\w+)=(.*)", done.stdout))
    assert exports["HELIX_URL"].startswith("https://127.0.0.1:")
    assert (exports["HELIX_ACCESS_KEY"], exports["HELIX_ACCESS_SECRET_KEY"]) == ("mine", "'my secret'")
    assert Path(exports["HELIX_CA_PATH"]).read_text().startswith("-----BEGIN CERTIFICATE")
    assert (tmp_path / "server.pem").stat().st_mode & 0o77 == 0
    assert not (tmp_path / "ready.json").exists(), "it is no longer ready"


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--http", "--stop-after", "0.05", "--quiet", "--state-dir", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scenario", "no-such-file.json"), "cannot be read"),
        (("--host", "192.0.2.1"), "cannot start"),
        (("--certificate", "odd"), "invalid choice"),
        (("--speed", "-1"), "at least 0"),
    ],
)
def test_it_says_why_it_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    try:
        status = main(["--state-dir", str(tmp_path), *arguments])
    except SystemExit as refused:
        status = int(refused.code or 0)
    assert status > 0
    assert message in capsys.readouterr().err


def test_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str], sim: SimulatorProcess) -> None:
    assert main(["--state-dir", str(tmp_path), "--port", sim.url.rsplit(":", 1)[1]]) == 1
    assert "cannot start" in capsys.readouterr().err


def test_process_class_passes_on_why() -> None:
    with pytest.raises(SimulatorError, match="invalid choice"):
        SimulatorProcess(extra_args=("--certificate", "odd")).start()


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from tests.simulator.client import SimulatorProcess\n"
        "simulator = SimulatorProcess(https=False).start()\n"
        "print(simulator.pid, simulator.url, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        os.kill(parent.pid, signal.SIGKILL)
    host, port = url.split("//")[1].split(":")
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < deadline, f"process {pid} still listens"
        time.sleep(0.02)


def test_scenario_file_and_reset_to_it(tmp_path: Path) -> None:
    scenario = {
        "config": {"none_style": "absent"},
        "etls": [{"id": 9, "name": "nine"}],
        "keys": [{"access_key": "k", "secret": "s"}],
        "faults": [{"match": {"exchange": "list"}, "fault": {"kind": "status", "code": 418}}],
    }
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(scenario))
    with SimulatorProcess(https=False, scenario=str(path), extra_args=("--token-life", "7")) as process:
        for _number in range(2):
            probe = Probe(process)
            assert probe.login(access_key="k", access_secret_key="s").status == 200
            assert probe.list().status == 418
            assert probe.list().json[0]["name"] == "nine"
            assert probe.status(9).json == {"task_id": 9}
            assert process.control.config()["token_life"] == 7
            probe.close()
            process.control.put_etl(10)
            process.control.reset()
            assert [etl["id"] for etl in process.control.etls()] == [9]


def test_demo_scenario(control: Control) -> None:
    control.reset("demo")
    etls = {etl["id"]: etl for etl in control.etls()}
    assert etls[53]["state"] == "SERVICE_ON"
    assert etls[321]["last_exec_ts"] == "2022-09-08T14:56:28Z"
    assert {etl["kind"] for etl in etls.values()} == {"batch", "periodic", "service"}
    assert {etl["exit"] for etl in etls.values()} == {"OK", "WARNING", "ERROR"}
    assert "inactive" in {etl["engine"] for etl in etls.values()}


@pytest.mark.parametrize(
    ("variety", "reason"),
    [("expired", "certificate has expired"), ("wrong-host", "certificate is not valid for")],
)
def test_odd_certificates(variety: str, reason: str) -> None:
    with SimulatorProcess(extra_args=("--certificate", variety)) as process:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            Probe(process).login()
        assert process.control.etls() == []


def test_client_knows_the_servers_keys(sim: SimulatorProcess) -> None:
    """They are written down twice, so that the client needs nothing but the standard library."""
    identity = World().identity
    assert (identity.access_key, identity.access_secret_key, identity.tenant_id) == (
        sim.access_key,
        sim.access_secret_key,
        sim.tenant_id,
    )


# --- the page -----------------------------------------------------------------------------------------------------


def test_page_needs_nothing_from_elsewhere(api: Probe) -> None:
    reply = api.call("GET", "/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    addresses: list[str] = []

    class Collector(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            addresses.extend(value or "" for name, value in attrs if name in ("src", "href"))

    Collector().feed(reply.body.decode())
    assert addresses == ["data:,"]
    assert re.findall(rb"(?<!\()https?://(?!www\.gnu\.org)", reply.body) == []


def test_data_of_the_page(api: Probe, control: Control) -> None:
    control.reset("demo")
    api.login()
    api.run(321)
    for _number in range(30):
        api.status(321)
    control.advance(3)
    control.fault({"exchange": "status"}, {"kind": "status", "code": 503})
    api.status(118)
    api.status(118)
    data = api.call("GET", "/_page.json").json
    seen = [(row["path"].rpartition("/")[2], row["status"], row["count"]) for row in data["requests"]]
    assert seen == [("status", 200, 1), ("status", 503, 1), ("status", 200, 30), ("run", 200, 1), ("login", 200, 1)]
    assert data["counters"]["statuses"] == 32
    etl = next(etl for etl in data["etls"] if etl["id"] == 321)
    assert (etl["state"], etl["due"] - etl["since"]) == ("RUNNING", pytest.approx(8))
    assert control.counters()["requests"] == 34, "the page itself is not counted"
    for _number in range(30):
        api.call("GET", "/nowhere")
    assert len(api.call("GET", "/_page.json").json["requests"]) == 20


# --- the documentation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", tables())
def test_readme_has_the_tables(title: str) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert tables()[title] in readme, "python -m tests.simulator.describe prints the new ones"


def test_readme_names_every_control_call() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for route in control_module.control_routes(World()):
        if route.method != "*":
            assert f"`{route.method} {route.path.removeprefix(control_module.BASE)}`" in readme


def test_sources_suit_python_3_9() -> None:
    for path in FOLDER.glob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
