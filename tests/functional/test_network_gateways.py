# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real nginx in front of the tenant, which requires client certificates, and a real squid, which requires a user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.functional.network.certificates import Certificates
from tests.functional.support import ModuleRun, Played, assert_no_secret, started, wait_for
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full


def program(name: str) -> Optional[str]:
    """The path of a program, also if it is in a folder for administrators."""
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def daemon(folder: Path, port: int, *command: object) -> Iterator[None]:
    """A program that runs in the foreground, from the moment when it accepts connections."""
    output = folder / "output.txt"

    def accepts() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with started(command, os.environ, output) as process:
        wait_for(lambda: accepts() or process.poll() is not None, output)
        assert process.poll() is None, output.read_text(encoding="utf-8")
        try:
            yield
        finally:
            # Killed, squid would leave its shared memory behind.
            process.terminate()
            process.wait(20)


NGINX = """
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


@pytest.mark.skipif(not program("nginx"), reason="nginx is not installed (apt-get install nginx)")
def test_nginx(
    start_simulator: Callable[..., SimulatorProcess], module: Callable[..., ModuleRun], tmp_path: Path
) -> None:
    upstream, certificates, port = start_simulator(https=False), Certificates(tmp_path), free_port()
    files = {"server": certificates.server(), "ca": certificates.ca}
    (tmp_path / "nginx.conf").write_text(NGINX.format(port=port, upstream=upstream.url, **files), encoding="utf-8")
    certificate, key = certificates.client()
    good: dict[str, Any] = {"url": f"https://localhost:{port}/helix", "ca_path": str(certificates.ca), "retries": 0}
    good |= {"client_cert": certificate, "client_key": key}

    def assert_failure(kind: str, words: str, **changes: Any) -> None:
        done = module("etl_info", **{**good, **changes})
        assert (done.failed, done["error"]["kind"]) == (True, kind), done["msg"]
        assert words in done["msg"]
        assert "<" not in done["msg"]

    with daemon(tmp_path, port, program("nginx"), "-p", tmp_path, "-c", "nginx.conf", "-e", "error.log"):
        assert_failure("tls", "400 No required SSL certificate was sent", client_cert=None, client_key=None)
        foreign, foreign_key = certificates.client(foreign=True)
        assert_failure("tls", "SSL certificate error", client_cert=foreign, client_key=foreign_key)
        plain = good["url"].replace("https", "http")
        assert_failure("tls", "plain HTTP request was sent to HTTPS port", url=plain, allow_http=True)
        assert_failure("authentication", "HTTP 404", url=good["url"].replace("/helix", "/other"))
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


#: With characters that have a meaning in addresses, in JSON, and in Jinja.
PASSWORD = "p@ss:w/rd\"{{%}}\\'#?&=ZqX9"
QUOTED = "p%40ss%3Aw%2Frd%22%7B%7B%25%7D%7D%5C%27%23%3F%26%3DZqX9"
HELPER = next(iter(Path("/usr").glob("lib*/squid/basic_ncsa_auth")), None) or program("basic_ncsa_auth")
SQUID = """
http_port 127.0.0.1:{port}
pid_filename {folder}/squid.pid
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
coredump_dir {folder}
cache deny all
shutdown_lifetime 0 seconds
auth_param basic program {helper} {folder}/passwords
auth_param basic children 1
acl known proxy_auth REQUIRED
acl forbidden port 9
http_access deny forbidden
http_access allow known
http_access deny all
"""


@pytest.fixture
def squid() -> Iterator[tuple[int, Path]]:
    """Its port, and its record of requests."""
    if not (program("squid") and program("openssl") and HELPER):
        pytest.skip("squid is not installed (apt-get install squid openssl)")
    # Started by root, squid becomes another user, to whom the folders of pytest are closed.
    folder, port = Path(tempfile.mkdtemp(prefix="helix-squid-")), free_port()
    hashing = ["openssl", "passwd", "-apr1", "-stdin"]
    entry = subprocess.run(hashing, input=PASSWORD, capture_output=True, text=True, check=True).stdout
    (folder / "passwords").write_text(f"helix-user:{entry}", encoding="utf-8")
    (folder / "squid.conf").write_text(SQUID.format(port=port, folder=folder, helper=HELPER), encoding="utf-8")
    owner = next((entry for entry in pwd.getpwall() if entry.pw_name in ("proxy", "squid")), None)
    if os.geteuid() == 0 and owner:
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with daemon(folder, port, program("squid"), "-N", "-f", folder / "squid.conf", "-n", f"helix{port}"):
        yield port, folder / "access.log"
    shutil.rmtree(folder)


def test_squid(play: Callable[..., Played], squid: tuple[int, Path], simulator: SimulatorProcess) -> None:
    port, record = squid
    address, wrong = (f"http://helix-user:{password}@127.0.0.1:{port}" for password in (QUOTED, "wrongZqX8"))
    simulator.control.put_etl(321, duration=1)
    played = play(
        """
        - name: Run
          capacityops.bmc_helix.etl_action: {action: run, etl_id: 321, poll_interval: 1}
        - name: Read through the proxy of HTTPS_PROXY
          capacityops.bmc_helix.etl_info: {proxy: ""}
        - name: Use a wrong password
          capacityops.bmc_helix.etl_info: {proxy: "{{ lookup('env', 'WRONG') }}"}
          ignore_errors: true
        - name: Use a forbidden port
          capacityops.bmc_helix.etl_info: {url: "https://127.0.0.1:9"}
          ignore_errors: true
        """,
        env={"HELIX_PROXY": address, "HTTPS_PROXY": address, "WRONG": wrong, "NO_PROXY": None, "no_proxy": None},
        verbosity=5,
    )
    assert played.rc == 0, played.output
    assert played.task("Run")["etl"]["outcome"] == "succeeded"
    assert "a user name and password, or rejected them (HTTP 407)" in played.task("Use a wrong password")["msg"]
    assert "the proxy refused the connection with HTTP 403" in played.task("Use a forbidden port")["msg"]
    assert_no_secret(played.output, (PASSWORD, QUOTED, "helix-user:", "ZqX8"))
    place = simulator.url.rpartition("/")[2]
    lines = [line for line in record.read_text(encoding="utf-8").splitlines() if "TCP_TUNNEL/200" in line]
    assert len(lines) == 2, "all requests of a task share one tunnel"
    assert all(f"CONNECT {place} helix-user" in line for line in lines)
