# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Through a real squid that requires a user name and password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.network.daemons import daemon, free_port, program
from tests.functional.support import Played, assert_no_secret
from tests.simulator.client import SimulatorProcess

HELPER = next(iter(Path("/usr").glob("lib*/squid/basic_ncsa_auth")), None) or program("basic_ncsa_auth")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not (program("squid") and HELPER and program("openssl")),
        reason="squid is not installed (apt-get install squid openssl)",
    ),
]

#: With characters that have a meaning in addresses, in JSON, and in Jinja.
PASSWORD = "p@ss:w/rd\"{{%}}\\'#?&=ZqX9"
QUOTED = "p%40ss%3Aw%2Frd%22%7B%7B%25%7D%7D%5C%27%23%3F%26%3DZqX9"
CONFIGURATION = """
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
    """Its port, and the record of requests."""
    # Started by root, squid becomes another user, to whom the folders of pytest are closed.
    folder, port = Path(tempfile.mkdtemp(prefix="helix-squid-")), free_port()
    hashing = ["openssl", "passwd", "-apr1", "-stdin"]
    entry = subprocess.run(hashing, input=PASSWORD, capture_output=True, text=True, check=True).stdout
    (folder / "passwords").write_text(f"helix-user:{entry}", encoding="utf-8")
    (folder / "squid.conf").write_text(CONFIGURATION.format(port=port, folder=folder, helper=HELPER), encoding="utf-8")
    owner = next((entry for entry in pwd.getpwall() if entry.pw_name in ("proxy", "squid")), None)
    if os.geteuid() == 0 and owner:
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with daemon(folder, port, program("squid"), "-N", "-f", folder / "squid.conf", "-n", f"helix{port}"):
        yield port, folder / "access.log"
    shutil.rmtree(folder)


def test_tasks_through_the_proxy(
    play: Callable[..., Played], squid: tuple[int, Path], simulator: SimulatorProcess
) -> None:
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
