# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Behind a real nginx, which requires client certificates and serves the tenant below a path of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.network.certificates import Certificates
from tests.functional.network.daemons import daemon, free_port, program
from tests.functional.support import ModuleRun
from tests.simulator.client import SimulatorProcess

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not program("nginx"), reason="nginx is not installed (apt-get install nginx)"),
]

CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # Shorter than the time between two polls, so that a connection dies in between.
    keepalive_timeout 1s;
    gzip on;
    gzip_types application/json;
    gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server};
        ssl_certificate_key {server};
        ssl_verify_client on;
        ssl_client_certificate {ca};
        location /helix/ {{
            proxy_pass {upstream}/;
            proxy_read_timeout 1s;
        }}
        location / {{ return 404; }}
    }}
}}
"""


@pytest.fixture
def upstream(start_simulator: Callable[..., SimulatorProcess]) -> SimulatorProcess:
    return start_simulator(https=False)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def gateway(tmp_path: Path, certificates: Certificates, upstream: SimulatorProcess) -> Iterator[dict[str, Any]]:
    """The connection options for the gateway."""
    port = free_port()
    files = {"server": certificates.server(), "ca": certificates.ca}
    (tmp_path / "nginx.conf").write_text(CONFIGURATION.format(port=port, upstream=upstream.url, **files), "utf-8")
    certificate, key = certificates.client()
    common = {"url": f"https://localhost:{port}/helix", "ca_path": str(certificates.ca), "retries": 0}
    with daemon(tmp_path, port, program("nginx"), "-p", tmp_path, "-c", "nginx.conf", "-e", "error.log"):
        yield {**common, "client_cert": certificate, "client_key": key}


def test_a_run(gateway: dict[str, Any], upstream: SimulatorProcess, module: Callable[..., ModuleRun]) -> None:
    """A 504 does not tell whether the request was carried out: the state does. Idle connections die unnoticed."""
    upstream.control.put_etl(321, duration=4)
    upstream.control.fault({"exchange": "run"}, {"kind": "slow_after", "seconds": 3})
    done = module("etl_action", **gateway, action="run", etl_id=321, poll_interval=2, details="full")
    assert done["etl"]["outcome"] == "succeeded", done["msg"]
    assert done["etl"]["evidence"]
    assert done["etl"]["lost_polls"] == 0
    assert len(upstream.control.executions(321)) == len(upstream.control.requests(exchange="run")) == 1


def test_pages_of_the_gateway(
    gateway: dict[str, Any], certificates: Certificates, upstream: SimulatorProcess, module: Callable[..., ModuleRun]
) -> None:
    foreign, foreign_key = certificates.client(foreign=True)
    plain = gateway["url"].replace("https", "http")
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"client_cert": None, "client_key": None}, "tls", "400 No required SSL certificate was sent"),
        ({"client_cert": foreign, "client_key": foreign_key}, "tls", "SSL certificate error"),
        ({"url": plain, "allow_http": True}, "tls", "plain HTTP request was sent to HTTPS port"),
        ({"url": gateway["url"].replace("/helix", "/other")}, "authentication", "HTTP 404"),
    ]
    requests = upstream.control.requests
    for changes, kind, words in [*refused, ({}, "server_error", "HTTP 502")]:
        if not changes:
            assert requests() == []
            upstream.stop()
        done = module("etl_info", **{**gateway, **changes})
        assert (done.failed, done["error"]["kind"]) == (True, kind), done["msg"]
        assert words in done["msg"]
        assert "<" not in done["msg"]
