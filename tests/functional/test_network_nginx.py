# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real nginx in front of the tenant, which requires client certificates and serves a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.functional.network.certificates import Certificates
from tests.functional.support import ModuleRun
from tests.simulator.client import SimulatorProcess

PROGRAM = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not PROGRAM, reason="nginx is not installed (apt-get install nginx)"),
]
CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log access.log;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    # Shorter than the time between two polls, so that a connection dies in between.
    keepalive_timeout 1s;
    gzip on; gzip_types application/json; gzip_min_length 1;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server}; ssl_certificate_key {server};
        ssl_verify_client on; ssl_client_certificate {ca};
        location /helix/ {{ proxy_pass {upstream}/; proxy_read_timeout 2s; }}
        location / {{ return 404; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, **settings: object) -> Iterator[int]:
    """The port, once it accepts connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(CONFIGURATION.format(port=port, **settings), encoding="utf-8")
    command = [str(PROGRAM), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            refused = True
            while refused:
                assert process.poll() is None, "nginx did not start"
                with socket.socket() as probe:
                    refused = bool(probe.connect_ex(("127.0.0.1", port)))
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


def test_nginx(
    start_simulator: Callable[..., SimulatorProcess], module: Callable[..., ModuleRun], tmp_path: Path
) -> None:
    upstream, certificates = start_simulator(https=False), Certificates(tmp_path)
    (certificate, key), (foreign, foreign_key) = certificates.client(), certificates.client(foreign=True)
    good: dict[str, Any] = {
        "ca_path": str(certificates.ca),
        "client_cert": certificate,
        "client_key": key,
        "retries": 0,
    }

    def assert_failure(kind: str, words: str, **changes: Any) -> None:
        done = module("etl_info", **{**good, **changes})
        assert (done.failed, done["error"]["kind"]) == (True, kind), done["msg"]
        assert words in done["msg"]
        assert "<" not in done["msg"]

    with nginx(tmp_path, upstream=upstream.url, server=certificates.server(), ca=certificates.ca) as port:
        good["url"] = f"https://localhost:{port}/helix"
        assert_failure("tls", "400 No required SSL certificate was sent", client_cert=None, client_key=None)
        assert_failure("tls", "SSL certificate error", client_cert=foreign, client_key=foreign_key)
        plain = {"url": f"http://localhost:{port}/helix", "allow_http": True}
        assert_failure("tls", "plain HTTP request was sent to HTTPS port", **plain)
        assert_failure("authentication", "HTTP 404", url=f"https://localhost:{port}")
        assert upstream.control.requests() == []

        # A 504 does not tell whether the request was carried out: the state does. Idle connections die unnoticed.
        upstream.control.put_etl(321, duration=4)
        upstream.control.fault({"exchange": "run"}, {"kind": "slow_after", "seconds": 4})
        done = module("etl_action", **good, action="run", etl_id=321, poll_interval=2, details="full")
        assert (done["etl"]["outcome"], done["etl"]["lost_polls"]) == ("succeeded", 0), done["msg"]
        assert done["etl"]["evidence"]
        assert len(upstream.control.executions(321)) == len(upstream.control.requests(exchange="run")) == 1

        upstream.stop()
        assert_failure("server_error", "HTTP 502")
