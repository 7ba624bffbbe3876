# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Server programs of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional


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
    words, log, deadline = [str(word) for word in command], folder / "output.txt", time.monotonic() + 20
    with (
        log.open("wb") as output,
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder) as process,
    ):
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                running = process.poll() is None and time.monotonic() < deadline
                assert running, f"{words[0]} did not start:\n{log.read_text(encoding='utf-8')}"
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
