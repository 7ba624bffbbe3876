# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tenant_info: each broken connection gives its own row and remedy, and a profile reproduces the tenant."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.capacityops.bmc_helix.plugins.modules import tenant_info
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.raw_server import RawServer, reply

from tests.functional.inprocess import Done, InProcess
from tests.functional.network.certificates import Certificates, server_context
from tests.functional.support import Played, assert_no_secret
from tests.simulator.client import SimulatorProcess

pytest_plugins = ["tests.functional.inprocess"]

Check = Callable[..., Done]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def check(library: InProcess) -> Check:
    """Run the module. Whatever happens, the result is as documented and contains no secret."""

    def run(**options: Any) -> Done:
        done = library("tenant_info", **options)
        documented = yaml.safe_load(tenant_info.RETURN)
        assert set(done.result) - {"changed", "failed", "invocation"} <= set(documented)
        assert not done.changed
        for row in done["checks"]:
            assert set(row) == set(documented["checks"]["contains"])
            assert row["status"] in ("ok", "warning", "failed", "skipped")
            assert row["msg"]
            assert bool(row["remedy"]) == (row["status"] in ("failed", "warning")), row
        assert tuple(done["profile"]) == tenant_info.PROFILE
        bad = [row for row in done["checks"] if row["status"] == "failed"]
        assert done.failed == bool(bad)
        assert not bad or done["msg"].endswith(f"Remedy: {bad[0]['remedy']}")
        keys = (library.connection["access_key"], library.connection["access_secret_key"])
        assert_no_secret(json.dumps({k: v for k, v in done.result.items() if k != "invocation"}), keys)
        return done

    return run


def rows(done: Done) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in done["checks"]}


def only_failure(done: Done) -> dict[str, Any]:
    (row,) = [row for row in done["checks"] if row["status"] == "failed"]
    return row


# -- the tenant and the key -------------------------------------------------------------------------------------------


def test_a_good_tenant_is_not_changed(library: InProcess, check: Check) -> None:
    library.control.put_etl(53, kind="service", state="SERVICE_ON")
    library.control.put_etl(321, state="ENDED")
    done = check()
    assert not done.failed
    found = {name: row["status"] for name, row in rows(done).items()}
    assert found.pop("tls") == "warning"  # plain HTTP
    found.pop("clock")  # the clock of this simulator stands still
    assert set(found.values()) == {"ok", "skipped"}
    assert done["profile"]["state_words"] == ["ENDED", "SERVICE_ON"]
    assert done["profile"]["permissions"] is None
    assert not any(request["write"] for request in library.control.requests())


@pytest.mark.parametrize("check_mode", [False, True])
def test_permission_to_write(library: InProcess, check: Check, check_mode: bool) -> None:
    library.control.put_etl(321, state="ENDED")
    done = check(check=check_mode, probe_write=True)
    writes = [(request["exchange"], request["path"]) for request in library.control.requests() if request["write"]]
    assert writes == ([] if check_mode else [("stop", "/opt/api/v1/backend/etls/2147483647/stop")])
    assert rows(done)["write_permission"]["status"] == ("skipped" if check_mode else "ok")


def test_keys_without_rights(library: InProcess, check: Check) -> None:
    key = library.connection["access_key"]
    library.control.put_key(key, permissions=["read"])
    row = only_failure(check(probe_write=True))
    assert (row["check"], row["details"]["http_status"]) == ("write_permission", 403)
    library.control.put_key(key, permissions=[])
    done = check()
    row = only_failure(done)
    assert (row["check"], row["details"]["kind"]) == ("list", "permission")
    assert "etls_read" in row["remedy"]
    assert (done["profile"]["forbidden_code"], done["profile"]["permissions"]) == (403, [])
    library.control.put_key(key, permissions=["read", "write"])


def test_names_and_words_that_deserve_attention(library: InProcess, check: Check) -> None:
    for etl_id, name in ((1, "Twice"), (2, "Twice"), (3, "Blank ")):
        library.control.put_etl(etl_id, name=name, state="HIBERNATING")
    library.control.configure(time_format="epoch", clock_skew=86400)
    found = rows(check())
    assert {name for name, row in found.items() if row["status"] != "ok"} >= {"tls", "clock", "names", "values"}
    assert found["names"]["details"] == {"duplicates": ["Twice"], "white_space": ["Blank "]}
    assert "HIBERNATING" in found["values"]["msg"]
    assert found["clock"]["details"]["skew_seconds"] == pytest.approx(86400, abs=3600)


@pytest.mark.parametrize(
    ("exchange", "fault", "name", "kind", "words"),
    [
        ("login", {"kind": "status", "code": 401}, "login", "authentication", "type must be 'Access key'"),
        ("login", {"kind": "status", "code": 404}, "login", "authentication", "tenant_id"),
        ("any", {"kind": "html_200"}, "login", "unexpected_answer", "login or maintenance page"),
        ("any", {"kind": "redirect"}, "login", "redirected", "final address"),
        ("list", {"kind": "status", "code": 404}, "list", "wrong_address", "Continuous Optimization 22.4"),
        ("list", {"kind": "status", "code": 401}, "list", "authentication", "type of the key"),
        ("login", {"kind": "slow_before_nothing", "seconds": 2}, "login", "timeout", "slow"),
    ],
)
def test_refusals(
    library: InProcess, check: Check, exchange: str, fault: dict[str, Any], name: str, kind: str, words: str
) -> None:
    library.control.fault({"exchange": exchange}, fault, times=-1)
    done = check(request_timeout=0.5 if kind == "timeout" else None)
    row = next(row for row in done["checks"] if row["status"] == "failed")
    assert (row["check"], done["error"]["kind"]) == (name, kind)
    assert words in row["remedy"]
    assert ("captive portal" in rows(done)["connection"]["remedy"]) == (exchange == "any")


# -- the way to the server --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "name", "words"),
    [
        ("name", "name_resolution", "could not be resolved"),
        ("port", "connection", "connection refused"),
        ("proxy", "connection", "user name and password"),
        ("http", "connection", "use https://"),
        ("plain", "tls", "handshake failed"),
        ("wrong_host", "tls", "mismatch"),
        ("expired", "tls", "clock of this host"),
        ("not_yet_valid", "tls", "clock of this host"),
    ],
)
def test_broken_connections(check: Check, certificates: Certificates, problem: str, name: str, words: str) -> None:
    tls = None if problem in ("plain", "proxy") else server_context(certificates.server(problem))
    with RawServer(reply(b"", "407 Proxy Authentication Required"), tls=tls) as server:
        addresses = {
            "name": "https://nowhere.invalid",
            "port": "https://127.0.0.1:9",
            "proxy": "https://helix.invalid",
            "http": f"http://127.0.0.1:{server.port}",
        }
        done = check(
            url=addresses.get(problem, f"https://127.0.0.1:{server.port}"),
            proxy=server.url if problem == "proxy" else None,
            validate_certs=True,
            ca_path=str(certificates.ca),
        )
    row = only_failure(done)
    assert row["check"] == name
    assert words in row["msg"] + row["remedy"]


def test_an_end_at_the_time_limit(
    library: InProcess, check: Check, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal is good, and the service accepts connections without ever responding."""
    monkeypatch.setattr(tenant_info, "LONGEST", 0.5)
    over = threading.Event()
    with RawServer(lambda _connection: over.wait(10), tls=server_context(certificates.server())) as server:
        trust = {"validate_certs": True, "ca_path": str(certificates.ca)}
        found = rows(check(url=server.url, login_url=library.connection["url"], **trust))
        over.set()
    assert (found["connection"]["status"], found["login"]["status"]) == ("failed", "ok")
    assert "did not end within 0 s" in found["connection"]["msg"]
    assert "the check connection has no result" in found["tls"]["msg"]


# -- the profile ------------------------------------------------------------------------------------------------------

ODD: dict[str, Any] = {"status_code": 204, "none_style": "absent", "time_format": "zone", "words_case": "title"}
ODD |= {"list_without_slash": "served", "strict_accept": False, "not_found_code": 404, "not_found_style": "text"}
ODD |= {"jwt_exp": True, "token_life": 300, "clock_skew": 7200}
OTHER: dict[str, Any] = {"none_style": "204_empty", "time_format": "epoch_ms", "list_without_slash": "not_found"}
OTHER |= {"not_found_style": "empty", "tenant_required": True, "jwt_opaque": True, "date_header": False}
SEEN_IN_ODD = {"status_code": 204, "no_value": "absent", "words_case": "title", "trailing_slash": "optional"}
SEEN_IN_OTHER = {
    "no_value_code": 204,
    "time_format": "epoch_ms",
    "trailing_slash": "required",
    "token_claims": "opaque",
}


@pytest.mark.one_core
@pytest.mark.parametrize(("settings", "seen"), [(ODD, SEEN_IN_ODD), (OTHER, SEEN_IN_OTHER)], ids=["odd", "other"])
def test_round_trip(
    start_simulator: Callable[..., SimulatorProcess],
    home: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    seen: dict[str, Any],
) -> None:
    """A simulator that gets the profile of another one behaves like it."""
    file = tmp_path / "profile.json"
    profiles = []
    for arguments in ([], ["--profile", str(file)]):
        simulator = start_simulator(https=False, extra_args=arguments)
        if not arguments:
            simulator.control.configure(**settings)
            for number, state in enumerate(("ENDED", "WAITING", "SERVICE_ON", "FROZEN", *(None,) * 5)):
                simulator.control.put_etl(number + 1, name=f"Secret name {number}", state=state)
            simulator.control.put_etl(10, state="ENDED", exit_code="WARNING")
        library = InProcess(simulator, home)
        done = library("tenant_info", tenant_id=simulator.tenant_id, probe_write=True, profile_file=str(file))
        library.clock.close()
        assert not done.failed, done["msg"]
        assert rows(done)["unknown_id"]["status"] == "ok", "HTTP 400 and 404 are usual"
        profiles.append(json.loads(file.read_text(encoding="utf-8")))
        assert profiles[-1] == done["profile"]
    skews = [profile.pop("clock_skew_seconds") or 0 for profile in profiles]
    assert skews[0] == pytest.approx(skews[1], abs=2)  # the header Date has whole seconds
    assert profiles[0] == profiles[1]
    assert profiles[0].items() >= seen.items()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for private in ("Secret name", "127.0.0.1", simulator.access_key, simulator.tenant_id):
        assert private not in file.read_text(encoding="utf-8")


def test_profile_that_cannot_be_written(check: Check, tmp_path: Path) -> None:
    row = only_failure(check(profile_file=str(tmp_path / "missing" / "profile.json")))
    assert row["check"] == "profile_file"
    assert "existing folder" in row["remedy"]
    assert not list(tmp_path.iterdir())


def test_playbook(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    simulator.control.put_etl(321, state="ENDED")
    played = play(
        """
        - import_playbook: capacityops.bmc_helix.check_tenant
        - import_playbook: capacityops.bmc_helix.check_tenant
          vars: {bmc_helix_connection: {access_key: wrong-key-0123}}
        """
    )
    assert played.rc != 0
    assert "1 states were read" in played.stdout
    assert "Check access_key and access_secret_key" in played.task("Verify that no check failed")["msg"]
