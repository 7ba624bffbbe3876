# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Through a real squid that demands a user name and password."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.functional.network.daemons import Squid, program
from tests.functional.support import ModuleRun, Played, assert_no_secret
from tests.simulator.client import SimulatorProcess

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not (program("squid") and shutil.which("openssl")),
        reason="squid is not installed (apt-get install squid openssl)",
    ),
]

SECRETS = (Squid.password, Squid.quoted_password, f"{Squid.user}:")


@pytest.fixture(scope="module")
def squid() -> Iterator[Squid]:
    proxy = Squid()
    if proxy.missing:
        pytest.skip(f"{proxy.missing} is not installed")
    with proxy:
        yield proxy


@pytest.fixture
def info(module: Callable[..., ModuleRun], squid: Squid) -> Callable[..., ModuleRun]:
    """Run etl_info; no secret of the proxy may be in what it says."""

    def run(env: Any = None, **options: Any) -> ModuleRun:
        done = module("etl_info", env=env, **{"retries": 0, **options})
        assert_no_secret(str({key: value for key, value in done.result.items() if key[0] != "_"}), SECRETS)
        return done

    return run


def test_proxy_with_credentials(info: Callable[..., ModuleRun], squid: Squid, simulator: SimulatorProcess) -> None:
    before = len(squid.log())
    done = info(proxy=squid.url())
    assert not done.failed, done["msg"]
    new = squid.log()[before:]
    port = simulator.url.rpartition(":")[2]
    assert len(new) == 1, "login and list share one tunnel"
    assert f"CONNECT 127.0.0.1:{port} {squid.user}" in new[0]


@pytest.mark.parametrize("given", ["none", "wrong"])
def test_refused_credentials(info: Callable[..., ModuleRun], squid: Squid, given: str) -> None:
    wrong = squid.url("wrong%40secretZqX8")
    done = info(proxy=f"http://{squid.place}" if given == "none" else wrong)
    assert done["error"]["kind"] == "proxy"
    assert f" through the proxy {squid.place} failed: " in done["msg"]
    assert "the proxy requires a user name and password, or rejected them (HTTP 407)" in done["msg"]
    assert "Set proxy to http://USER:PASSWORD@HOST:PORT" in done["msg"]
    assert_no_secret(done["msg"], ["wrong%40secretZqX8", "wrong@secretZqX8"])


def test_plain_http_through_the_proxy(
    info: Callable[..., ModuleRun], squid: Squid, start_simulator: Callable[..., SimulatorProcess]
) -> None:
    server = start_simulator(https=False)
    options = {"url": server.url, "allow_http": True}
    assert not info(**options, proxy=squid.url()).failed
    done = info(**options, proxy=squid.url("wrong"))
    assert done["error"]["kind"] == "proxy"
    assert "(HTTP 407)" in done["msg"]


def test_environment(info: Callable[..., ModuleRun], squid: Squid) -> None:
    before = len(squid.log())
    without = {"NO_PROXY": None, "no_proxy": None}
    assert not info({"HTTPS_PROXY": squid.url(), **without}).failed
    assert len(squid.log()) == before + 1, "HTTPS_PROXY is used"
    assert not info({"https_proxy": squid.url(), "NO_PROXY": "localhost,127.0.0.0/8", "no_proxy": None}).failed
    assert not info({"ALL_PROXY": squid.url(), "no_proxy": "127.0.0.1", "NO_PROXY": None}).failed
    assert len(squid.log()) == before + 1, "NO_PROXY is respected"
    done = info({"HTTPS_PROXY": squid.url("wrong"), **without})
    assert "(HTTP 407)" in done["msg"]
    before = len(squid.log())
    assert not info({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}, proxy=squid.url()).failed
    assert len(squid.log()) == before + 1, "the option proxy is used whatever NO_PROXY says"
    assert not info({"HELIX_PROXY": squid.url(), "HTTPS_PROXY": "http://127.0.0.1:9"}).failed


def test_what_the_proxy_cannot_or_may_not_reach(info: Callable[..., ModuleRun], squid: Squid) -> None:
    done = info(url=f"https://127.0.0.1:{squid.forbidden_port}", proxy=squid.url())
    assert "the proxy refused the connection with HTTP 403" in done["msg"]
    assert "whether the proxy allows and reaches this address" in done["msg"]
    with_nobody = info(url="https://127.0.0.1:1", proxy=squid.url())
    assert "the proxy refused the connection with HTTP 503" in with_nobody["msg"]
    nowhere = info(proxy="http://127.0.0.1:1")
    assert " through the proxy 127.0.0.1:1 failed: the proxy could not be used" in nowhere["msg"]
    assert "connection refused" in nowhere["msg"]
    assert nowhere["error"]["kind"] == "proxy"


@pytest.mark.parametrize(
    "proxy", ["http://u:p€ss@127.0.0.1:1", "htp://x", "http://[::1", "http://a b:c@x:1", "socks9://x:1"]
)
def test_addresses_that_are_none(info: Callable[..., ModuleRun], proxy: str) -> None:
    done = info(proxy=proxy)
    assert done.failed
    assert done["error"]["kind"] in ("invalid_option", "proxy", "connection"), done["msg"]
    assert "p€ss" not in done["msg"]


def test_wait_through_the_proxy_at_full_verbosity(
    play: Callable[..., Played], squid: Squid, simulator: SimulatorProcess
) -> None:
    simulator.control.put_etl(321, duration=1)
    played = play(
        "- name: Run\n  capacityops.bmc_helix.etl_action:\n    action: run\n    etl_id: 321\n    poll_interval: 1\n",
        env={"HELIX_PROXY": squid.url()},
        verbosity=5,
    )
    assert played.rc == 0, played.output
    assert played.task("Run")["etl"]["outcome"] == "succeeded"
    assert_no_secret(played.output, SECRETS)
