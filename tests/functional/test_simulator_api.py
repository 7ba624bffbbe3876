# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulator answers as the REST API does: authentication, forms, shapes."""

from __future__ import annotations

import base64
import email.utils
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulator.client import Control, SimulatorProcess
from tests.simulator.probe import ETLS, LOGIN, REFRESH, Probe, Reply

INVALID_ACCEPT = "validation.request.accept.invalid"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as process:
        yield process


@pytest.fixture
def control(sim: SimulatorProcess) -> Control:
    """A fresh server whose time stands still."""
    sim.control.reset()
    sim.control.speed(0)
    return sim.control


@pytest.fixture
def api(sim: SimulatorProcess, control: Control) -> Iterator[Probe]:
    """Somebody who is logged in."""
    probe = Probe(sim)
    probe.login()
    yield probe
    probe.close()


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    result: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return result


# --- login --------------------------------------------------------------------------------------------------------


def test_login_answers_both_tokens_and_who_it_is(sim: SimulatorProcess, api: Probe) -> None:
    reply = api.login()
    assert reply.status == 200
    assert set(reply.json) == {"json_web_token", "token", "user_id", "tenant_id", "tenant_name", "principal_id"}
    assert reply.json["principal_id"] == sim.access_key
    assert reply.json["tenant_id"] == sim.tenant_id


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"access_secret_key": "wrong"}, 401),
        ({"access_key": "wrong"}, 401),
        ({"access_key": None}, 401),
        ({"access_key": ["a", "list"]}, 401),
        ({"tenant_id": "1234567890"}, 200),
        ({"tenant_id": "another"}, 404),
        ({"tenant_id": 7}, 404),
    ],
)
def test_login_with_something_else(api: Probe, changes: dict[str, Any], status: int) -> None:
    assert api.login(**changes).status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7"])
def test_login_with_a_body_that_is_none(api: Probe, body: bytes) -> None:
    assert api.call("POST", LOGIN, body).status == 400


def test_login_may_need_a_tenant(api: Probe, sim: SimulatorProcess, control: Control) -> None:
    control.configure(tenant_required=True)
    assert api.login().status == 404
    assert api.login(tenant_id=sim.tenant_id).status == 200


def test_key_is_deactivated(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    control.put_key(sim.access_key, active=False)
    assert api.login().status == 401
    assert api.list().status == 200, "a JWT that was issued before is good until it expires"
    control.put_key(sim.access_key, active=True, revoke=True)
    assert api.list().status == 401
    assert api.login().status == 200


def test_key_expires(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    control.put_key(sim.access_key, expires_in=60)
    assert api.login().status == 200
    control.advance(60)
    assert api.login().status == 401
    control.put_key(sim.access_key, expires_in=None)
    assert api.login().status == 200


def test_key_rotates_with_grace(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    control.put_key(sim.access_key, secret="another", grace=60)
    assert api.login(access_secret_key="another").status == 200
    assert api.login().status == 200
    control.advance(61)
    assert api.login().status == 401
    assert api.login(access_secret_key="another").status == 200


def test_second_key(api: Probe, control: Control) -> None:
    control.put_key("second", secret="its secret")
    assert api.login(access_key="second", access_secret_key="its secret").json["principal_id"] == "second"
    assert [key["access_key"] for key in control.access_keys()][-1] == "second"
    assert "its secret" not in json.dumps(control.access_keys())


# --- tokens -------------------------------------------------------------------------------------------------------


def test_jwt_tells_when_it_expires(api: Probe, control: Control) -> None:
    control.configure(token_life=100)
    content = claims(api.login().json["json_web_token"])
    assert content["exp"] - content["iat"] == 100
    assert content["iat"] == int(control.clock()["now"])


def test_jwt_without_times(api: Probe, control: Control) -> None:
    control.configure(jwt_exp=False)
    assert not {"exp", "iat"} & set(claims(api.login().json["json_web_token"]))
    assert api.list().status == 200


def test_opaque_token(api: Probe, control: Control) -> None:
    control.configure(jwt_opaque=True)
    assert "." not in api.login().json["json_web_token"]
    assert api.list().status == 200


def test_jwt_expires_by_simulated_time(api: Probe, control: Control) -> None:
    control.advance(899)
    assert api.list().status == 200
    control.advance(1)
    assert api.list().status == 401
    assert control.counters()["unauthorized"] == 1


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz"])
def test_no_token(api: Probe, authorization: str | None) -> None:
    assert api.call("GET", ETLS, headers={"Authorization": authorization}).status == 401


def test_signature_counts(api: Probe) -> None:
    assert api.token is not None
    head, content, signature = api.token.split(".")
    api.token = f"{head}.{content}.{signature[::-1]}"
    assert api.list().status == 401


def test_tokens_are_revoked(api: Probe, control: Control) -> None:
    refresh = api.login().json["token"]
    control.revoke_tokens()
    assert api.list().status == 401
    assert api.refresh(refresh).status == 200
    control.revoke_tokens(refresh_too=True)
    assert api.refresh(refresh).status == 401


def test_refresh_works_many_times(api: Probe, control: Control) -> None:
    refresh = api.login().json["token"]
    for _number in range(2):
        control.advance(900)
        assert api.list().status == 401
        reply = api.refresh(refresh)
        assert set(reply.json) == {"json_web_token"}
        api.token = reply.json["json_web_token"]
        assert api.list().status == 200


def test_refresh_token_expires(api: Probe, control: Control) -> None:
    refresh = api.login().json["token"]
    control.advance(86400)
    assert api.refresh(refresh).status == 401


@pytest.mark.parametrize(("mode", "status"), [("refused", 401), ("absent", 404)])
def test_refresh_does_not_work(api: Probe, control: Control, mode: str, status: int) -> None:
    refresh = api.login().json["token"]
    control.configure(refresh_mode=mode)
    assert api.refresh(refresh).status == status


def test_refresh_rotates(api: Probe, control: Control) -> None:
    control.configure(refresh_mode="rotates")
    first = api.login().json["token"]
    second = api.refresh(first).json["token"]
    assert api.refresh(first).status == 401
    assert api.refresh(second).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 7}', b'{"token": "wrong"}'])
def test_refresh_with_nonsense(api: Probe, body: bytes) -> None:
    assert api.call("POST", REFRESH, body).status == 401


def test_refresh_of_a_deactivated_key(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    refresh = api.login().json["token"]
    control.put_key(sim.access_key, active=False)
    assert api.refresh(refresh).status == 401


def test_permissions(sim: SimulatorProcess, api: Probe, control: Control) -> None:
    control.put_etl(321)
    control.put_key(sim.access_key, permissions=["read"])
    assert (api.list().status, api.status(321).status, api.run(321).status) == (200, 200, 403)
    control.put_key(sim.access_key, permissions=["write"])
    assert (api.list().status, api.status(321).status, api.run(321).status) == (403, 403, 200)


# --- forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json, text/plain, */*", "application/json;q=0.9", "application/xml"]
)
def test_compound_accept_is_refused(api: Probe, control: Control, accept: str | None) -> None:
    headers = {"Accept": accept}
    for method, path in (("GET", ETLS), ("POST", LOGIN)):
        reply = api.call(method, path, None if method == "GET" else {}, headers)
        assert (reply.status, reply.json["error"]["code"]) == (400, INVALID_ACCEPT)
    control.configure(strict_accept=False)
    assert api.call("GET", ETLS, headers=headers).status == 200


def test_content_type(api: Probe, control: Control) -> None:
    control.put_etl(321)
    body = b'{"run_execution_properties": {}}'
    run = f"{ETLS}321/run"
    assert api.call("POST", run, body, {"Content-Type": None}).status == 415
    assert api.call("POST", run, body, {"Content-Type": "text/plain"}).status == 415
    assert api.call("POST", run, body, {"Content-Type": "application/json; charset=utf-8"}).status == 200
    assert api.call("GET", ETLS, None, {"Content-Type": None}).status == 200
    control.configure(strict_content_type="all")
    assert api.call("GET", ETLS, None, {"Content-Type": None}).status == 415
    control.configure(strict_content_type="none")
    control.put_etl(321)
    assert api.call("POST", run, body, {"Content-Type": None}).status == 200


def test_wrong_methods_and_addresses(api: Probe) -> None:
    assert api.call("POST", ETLS, {}).status == 405
    assert api.call("GET", f"{ETLS}321/run").status == 405
    assert api.call("POST", f"{ETLS}321/status").status == 405
    assert api.call("GET", LOGIN).status == 405
    assert api.call("GET", "/opt/api/v1/backend/nothing").status == 404
    assert api.call("GET", f"{ETLS}321").status == 404
    assert api.call("GET", f"{ETLS}321/status/").status == 404


def test_about(api: Probe) -> None:
    assert api.call("GET", "/opt/api/agentdata/about").status == 200
    assert api.call("GET", "/opt/api/v1/agentdata/about").status == 200
    api.token = None
    assert api.call("GET", "/opt/api/agentdata/about").status == 401


@pytest.mark.parametrize(
    ("mode", "body", "status"),
    [
        ("strict", b'{"run_execution_properties": {"a": "1"}}', 200),
        ("strict", b'{"run_execution_properties": {}}', 200),
        ("strict", b"{}", 400),
        ("strict", b"", 400),
        ("strict", b"[]", 400),
        ("strict", b"not JSON", 400),
        ("strict", b'{"run_execution_properties": null}', 400),
        ("strict", b'{"run_execution_properties": {"a": 1}}', 400),
        ("strict", b'{"run_execution_properties": {"a": {"b": "c"}}}', 400),
        ("lenient", b"", 200),
        ("lenient", b"{}", 200),
        ("lenient", b'{"run_execution_properties": {"a": 1}}', 400),
        ("filled", b'{"run_execution_properties": {}}', 400),
        ("filled", b'{"run_execution_properties": {"a": "1"}}', 200),
    ],
)
@pytest.mark.parametrize("action", ["run", "schedule"])
def test_body_of_run_and_schedule(
    api: Probe, control: Control, action: str, mode: str, body: bytes, status: int
) -> None:
    control.put_etl(321)
    control.configure(run_body=mode)
    reply = api.call("POST", f"{ETLS}321/{action}", body)
    assert reply.status == status
    assert control.requests(exchange=action)[0]["accepted"] == (status == 200)
    if status == 400:
        assert b"not found" not in reply.body


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_body_of_stop_and_kill(api: Probe, control: Control, action: str) -> None:
    control.put_etl(321)
    assert api.call("POST", f"{ETLS}321/{action}", b"{}").status == 400
    assert api.call("POST", f"{ETLS}321/{action}").status == 200
    control.configure(stop_body="ignored")
    assert api.call("POST", f"{ETLS}321/{action}", b"{}").status == 200


# --- shapes -------------------------------------------------------------------------------------------------------


def test_list(api: Probe, control: Control) -> None:
    control.put_etl(53, name="VMware - vCenter Extractor Service")
    control.put_etl(54, listed=False)
    control.put_etl(55, run_configurations=[{"name": "Test", "active": False, "run_configuration_id": 3}])
    assert api.list().json == [
        {
            "name": "VMware - vCenter Extractor Service",
            "etl_id": 53,
            "run_configurations": [{"name": "Default", "active": True, "run_configuration_id": 1053}],
        },
        {
            "name": "ETL 55",
            "etl_id": 55,
            "run_configurations": [{"name": "Test", "active": False, "run_configuration_id": 3}],
        },
    ]
    assert api.status(54).status == 200


def test_list_without_its_slash(api: Probe, control: Control) -> None:
    reply = api.call("GET", ETLS[:-1])
    assert (reply.status, reply.headers["Location"]) == (301, ETLS)
    control.configure(list_without_slash="not_found")
    assert api.call("GET", ETLS[:-1]).status == 404


def test_status(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", exit_code="OK", last_exec_ts="2022-09-08T14:56:28Z")
    reply = api.status(321)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json == {"status": "ENDED", "task_id": 321, "exit_code": "OK", "last_exec_ts": "2022-09-08T14:56:28Z"}


@pytest.mark.parametrize(
    ("style", "status", "body"),
    [
        ("json_null", 200, {"status": None, "task_id": 321, "exit_code": None, "last_exec_ts": None}),
        ("empty_string", 200, {"status": "", "task_id": 321, "exit_code": "", "last_exec_ts": ""}),
        ("absent", 200, {"task_id": 321}),
        ("null", 200, None),
        ("204_empty", 204, b""),
    ],
)
def test_status_of_one_that_never_ran(api: Probe, control: Control, style: str, status: int, body: Any) -> None:
    control.put_etl(321)
    control.configure(none_style=style)
    reply = api.status(321)
    assert reply.status == status
    assert (reply.body if status == 204 else reply.json) == body
    assert api.list().status == 200, "the connection is still in order"
    control.configure(none_style="json_null")
    control.patch_etl(321, none_style=style)
    assert api.status(321).body == reply.body


def test_status_with_odd_fields(api: Probe, control: Control) -> None:
    control.put_etl(321, state="SUSPENDED", exit_code="PARTLY", status_overlay={"task_id": "321", "more": [1]})
    answer = api.status(321).json
    assert (answer["status"], answer["exit_code"], answer["task_id"], answer["more"]) == (
        "SUSPENDED",
        "PARTLY",
        "321",
        [1],
    )


@pytest.mark.parametrize(
    ("style", "content_type", "text"),
    [
        ("json", "application/json", b'{"error": "ETL not found"}'),
        ("text", "text/plain", b"ETL not found"),
        ("empty", "application/json", b""),
        ("html", "text/html", b"<h1>ETL not found</h1>"),
    ],
)
@pytest.mark.parametrize("code", [400, 404])
def test_not_found(api: Probe, control: Control, code: int, style: str, content_type: str, text: bytes) -> None:
    control.configure(not_found_style=style, not_found_code=code)
    replies: list[Reply] = [api.status(9), api.run(9), api.schedule(9), api.stop(9), api.kill(9), api.status("x")]
    for reply in replies:
        assert (reply.status, reply.headers["Content-Type"]) == (code, content_type)
        assert text in reply.body


# --- time ---------------------------------------------------------------------------------------------------------


def shown_date(reply: Reply) -> float:
    return email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp()


def test_date_follows_the_simulated_clock(api: Probe, control: Control) -> None:
    before = shown_date(api.list())
    control.advance(3600)
    assert shown_date(api.list()) == before + 3600


def test_date_may_be_absent(api: Probe, control: Control) -> None:
    control.configure(date_header=False)
    assert "Date" not in api.list().headers


def test_skew_shows_everywhere(api: Probe, control: Control) -> None:
    control.put_etl(321, state="ENDED", last_exec_age=10)
    before = (shown_date(api.list()), api.status(321).json["last_exec_ts"], claims(api.login().json["json_web_token"]))
    control.configure(clock_skew=-86400)
    after = (shown_date(api.list()), api.status(321).json["last_exec_ts"], claims(api.login().json["json_web_token"]))
    assert before[0] - after[0] == 86400
    assert before[1] > after[1]
    assert before[2]["exp"] - after[2]["exp"] == 86400
    control.put_etl(322, state="ENDED", last_exec_ts="2022-09-08T14:56:28Z")
    assert api.status(322).json["last_exec_ts"] == "2022-09-08T14:56:28Z"


def test_latency(api: Probe, control: Control) -> None:
    control.configure(latency_ms=80)
    begin = time.monotonic()
    api.list()
    assert 0.08 <= time.monotonic() - begin < 5


def test_connections_are_kept(api: Probe, control: Control) -> None:
    for _number in range(5):
        api.list()
    assert control.counters()["connections"] == 1
    api.close()
    api.list()
    assert control.counters()["connections"] == 2
    assert [entry["connection"] for entry in control.requests()][-2:] == [1, 2]


# --- the way there ----------------------------------------------------------------------------------------------


def test_certificate_is_good_for_every_name_of_this_machine(sim: SimulatorProcess) -> None:
    context = ssl.create_default_context(cafile=sim.ca_file)
    port = int(sim.url.rsplit(":", 1)[1])
    for name in ("localhost", "127.0.0.1", "::1"):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname=name).close()


def test_environment(sim: SimulatorProcess) -> None:
    assert sim.environment() == {
        "HELIX_URL": sim.url,
        "HELIX_ACCESS_KEY": sim.access_key,
        "HELIX_ACCESS_SECRET_KEY": sim.access_secret_key,
        "HELIX_CA_PATH": sim.ca_file,
    }


def test_control_knows_nothing_of_proxies(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert control.etls() == []
