# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Behind a real nginx: TLS, mutual TLS, a path before ours, pages of the gateway, its restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.functional.network.certificates import Certificates
from tests.functional.network.daemons import Nginx, program
from tests.functional.support import ModuleRun
from tests.simulator.client import SimulatorProcess

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not program("nginx"), reason="nginx is not installed (apt-get install nginx)"),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def upstream_process() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(https=False) as process:
        yield process


@pytest.fixture
def upstream(upstream_process: SimulatorProcess) -> SimulatorProcess:
    upstream_process.control.reset()
    return upstream_process


@pytest.fixture
def gateway(tmp_path: Path, certificates: Certificates) -> Iterator[Callable[..., Nginx]]:
    with ExitStack() as stack:

        def start(upstream: str, **options: Any) -> Nginx:
            folder = tmp_path / f"nginx-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            nginx = Nginx(folder, upstream, certificates.server(), **options)
            stack.enter_context(nginx)
            return nginx

        yield start


@pytest.fixture
def connection(upstream: SimulatorProcess, certificates: Certificates) -> Callable[..., dict[str, Any]]:
    """The connection options for a gateway."""

    def options(nginx: Nginx, **more: Any) -> dict[str, Any]:
        return {"url": nginx.url, "ca_path": str(certificates.ca), **more}

    return options


def test_path_before_ours(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    upstream.control.put_etl(321, duration=0.5)
    nginx = gateway(upstream.url)
    done = module("etl_action", **connection(nginx), action="run", etl_id=321, poll_interval=1)
    assert done["etl"]["outcome"] == "succeeded", done["msg"]
    assert len(upstream.control.executions(321)) == 1
    # Without the prefix there is a 404 page, which must not be taken for "no such ETL".
    options = {**connection(nginx), "url": nginx.url.removesuffix("/helix")}
    done = module("etl_info", **options)
    assert done.failed
    assert "404" in done["msg"]


def test_mutual_tls(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    certificates: Certificates,
    module: Callable[..., ModuleRun],
) -> None:
    nginx = gateway(upstream.url, client_ca=certificates.ca)
    certificate, key = map(str, certificates.client())
    wrong, wrong_key = map(str, certificates.client(foreign=True))
    assert not module("etl_info", **connection(nginx, client_cert=certificate, client_key=key)).failed
    done = module("etl_info", **connection(nginx))
    assert done["error"]["kind"] == "tls"
    assert "the server rejected the TLS connection: 400 No required SSL certificate was sent" in done["msg"]
    assert "set client_cert and client_key" in done["msg"]
    done = module("etl_info", **connection(nginx, client_cert=wrong, client_key=wrong_key))
    assert done["error"]["kind"] == "tls"
    assert "SSL certificate error" in done["msg"]
    assert [entry["exchange"] for entry in upstream.control.requests()] == ["login", "list"]


def test_plain_http_to_the_tls_port(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    nginx = gateway(upstream.url)
    done = module("etl_info", **connection(nginx, url=f"http://localhost:{nginx.port}/helix", allow_http=True))
    assert "The plain HTTP request was sent to HTTPS port" in done["msg"]
    assert "Check the scheme" in done["msg"]


def test_connection_dies_between_polls(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    """nginx drops idle connections after a second; nobody should notice."""
    upstream.control.put_etl(321, duration=4)
    done = module(
        "etl_action",
        **connection(gateway(upstream.url), retries=0, details="full"),
        action="run",
        etl_id=321,
        poll_interval=2,
    )
    assert done["etl"]["outcome"] == "succeeded", done["msg"]
    assert done["etl"]["lost_polls"] == 0
    assert len(upstream.control.executions(321)) == 1


def test_restart_of_the_gateway_during_a_wait(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    upstream.control.put_etl(321, duration=5)
    nginx = gateway(upstream.url)

    def restart() -> None:
        upstream.control.wait_until(lambda control: control.executions(321), 20)
        time.sleep(0.5)
        nginx.stop()
        time.sleep(2.5)
        nginx.start()

    thread = threading.Thread(target=restart)
    thread.start()
    done = module("etl_action", **connection(nginx, retries=0), action="run", etl_id=321, poll_interval=1)
    thread.join()
    assert done["etl"]["outcome"] == "succeeded", done["msg"]
    assert len(upstream.control.executions(321)) == 1


def test_gateway_loses_patience_after_the_request_was_accepted(
    gateway: Callable[..., Nginx],
    upstream: SimulatorProcess,
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    """A 504 page says nothing about what became of the request: the state does. Nothing is sent twice."""
    upstream.control.put_etl(321, duration=1)
    upstream.control.fault({"exchange": "run"}, {"kind": "slow_after", "seconds": 3})
    nginx = gateway(upstream.url, patience=1)
    done = module("etl_action", **connection(nginx), action="run", etl_id=321, poll_interval=1)
    assert done["etl"]["outcome"] == "succeeded", done["msg"]
    assert done["etl"]["evidence"]
    assert len(upstream.control.executions(321)) == 1
    assert len(upstream.control.requests(exchange="run")) == 1


def test_nobody_behind_the_gateway(
    gateway: Callable[..., Nginx],
    start_simulator: Callable[..., SimulatorProcess],
    connection: Callable[..., dict[str, Any]],
    module: Callable[..., ModuleRun],
) -> None:
    dead = start_simulator(https=False)
    nginx = gateway(dead.url)
    dead.stop()
    done = module("etl_info", **connection(nginx, retries=1))
    assert done.failed
    assert "HTTP 502" in done["msg"]
    assert "<" not in done["msg"]
    assert done["error"]["remedy"]
