# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real nginx and a real squid, with configurations of our own, on free ports, as long as a test lasts."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional

_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
_START_SECONDS = 20.0


def program(name: str) -> Optional[str]:
    """Where it is installed; the folders of administrators are looked into too."""
    return shutil.which(name, path=_PATH)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Daemon:
    """A server program in the foreground, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: Optional[subprocess.Popen[bytes]] = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{self.command()[0]} did not start:\n{self._said()}")
            time.sleep(0.02)

    def _said(self) -> str:
        logs = [self.folder / "output.txt", *sorted(self.folder.glob("*.log"))]
        return "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs if log.exists())

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class Nginx(Daemon):
    """A gateway with TLS before a server that speaks plain HTTP, below the path /helix/ only.

    :param client_ca: demand a client certificate that this authority signed.
    :param patience: seconds that it waits for the server before it answers 504.
    """

    def __init__(
        self, folder: Path, upstream: str, certificate: Path, client_ca: Optional[Path] = None, patience: int = 60
    ) -> None:
        super().__init__(folder)
        verify = f"ssl_verify_client on; ssl_client_certificate {client_ca};" if client_ca else ""
        temporary = "\n".join(
            f"    {name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"""
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
{temporary}
    # Shorter than the time between two polls: a pooled connection dies in between.
    keepalive_timeout 1s;
    gzip on;
    gzip_types application/json;
    gzip_min_length 1;
    server {{
        listen 127.0.0.1:{self.port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        {verify}
        location /helix/ {{
            proxy_pass {upstream}/;
            proxy_read_timeout {patience}s;
        }}
        location / {{ return 404; }}
    }}
}}
""",
            encoding="utf-8",
        )

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/helix"

    def command(self) -> list[str]:
        return [str(program("nginx")), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "error.log"]


class Squid(Daemon):
    """A forward proxy that demands a user name and password and reaches every port of this machine but one."""

    user = "helix-user"
    #: Characters that have a meaning in addresses, in JSON and in Jinja.
    password = "p@ss:w/rd\"{{%}}\\'#?&=ZqX9"
    #: As it has to be written in an address.
    quoted_password = "p%40ss%3Aw%2Frd%22%7B%7B%25%7D%7D%5C%27%23%3F%26%3DZqX9"
    forbidden_port = 9

    def __init__(self) -> None:
        # Started by root, squid becomes another user: pytest's folders are closed to that one.
        super().__init__(Path(tempfile.mkdtemp(prefix="helix-squid-")))
        helper = next(iter(Path("/usr").glob("lib*/squid/basic_ncsa_auth")), None) or program("basic_ncsa_auth")
        self.missing = None if helper else "squid's basic_ncsa_auth"
        entry = subprocess.run(
            ["openssl", "passwd", "-apr1", "-stdin"], input=self.password.encode(), capture_output=True, check=True
        ).stdout.decode()
        (self.folder / "passwords").write_text(f"{self.user}:{entry}", encoding="utf-8")
        (self.folder / "squid.conf").write_text(
            f"""
http_port 127.0.0.1:{self.port}
pid_filename {self.folder}/squid.pid
access_log stdio:{self.folder}/access.log
cache_log {self.folder}/cache.log
coredump_dir {self.folder}
cache deny all
shutdown_lifetime 0 seconds
auth_param basic program {helper} {self.folder}/passwords
auth_param basic children 1
acl known proxy_auth REQUIRED
acl forbidden port {self.forbidden_port}
http_access deny forbidden
http_access allow known
http_access deny all
""",
            encoding="utf-8",
        )
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            owner = next((entry for entry in pwd.getpwall() if entry.pw_name in ("proxy", "squid")), None)
            if owner:
                for path in (self.folder, *self.folder.iterdir()):
                    os.chown(path, owner.pw_uid, owner.pw_gid)

    def url(self, password: Optional[str] = None) -> str:
        """The address of the proxy with the right credentials, or with another (quoted) password."""
        return f"http://{self.user}:{self.quoted_password if password is None else password}@{self.place}"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(program("squid")), "-N", "-f", str(self.folder / "squid.conf"), "-n", f"helix{self.port}"]

    def log(self) -> list[str]:
        """What was asked of it."""
        path = self.folder / "access.log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)
