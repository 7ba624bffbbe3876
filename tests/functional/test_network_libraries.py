# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""The same network tests with the libraries of older systems: those of RHEL 9 and Debian 12, and a first urllib3 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.support import ROOT

pytestmark = pytest.mark.full

SETS = {
    "requests-2.25": ("requests==2.25.1", "urllib3==1.26.20", "idna==2.10", "chardet==4.0.0"),
    "requests-2.31": ("requests==2.31.0", "urllib3==2.0.7"),
}
# What runs long, or starts modules as processes of their own, is left out.
SELECTED = "not (module or user_sees or environment_of_an or dripping[ or bomb or cut_is or own_size)"


@pytest.mark.parametrize("name", SETS)
def test_older_libraries(name: str) -> None:
    folder = ROOT / ".cache" / "libraries" / name
    if not (folder / "requests").is_dir():
        _install(folder, SETS[name])
    tests = ["tests/functional/test_network_hostile.py", "tests/functional/test_network_tls.py"]
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-W", "default"]
    done = subprocess.run(
        [*command, "-k", SELECTED, *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    shown = subprocess.run(
        [sys.executable, "-c", "import requests, urllib3; print(requests.__file__, urllib3.__version__)"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(folder) in shown, shown
    assert SETS[name][1].endswith(f"=={shown.split()[-1]}")


def _install(folder: Path, packages: tuple[str, ...]) -> None:
    uv = shutil.which("uv") or str(ROOT / ".cache" / "nox" / "bin" / "uv")
    draft = folder.with_name(f"{folder.name}-{os.getpid()}")
    tools = (
        [uv, "pip", "install", "--python", sys.executable],
        [sys.executable, "-m", "pip", "install"],
    )
    for tool in tools:
        try:
            subprocess.run(
                [*tool, "--quiet", "--no-deps", "--target", str(draft), *packages],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if not folder.exists():
            draft.rename(folder)
        return
    pytest.skip(f"{' '.join(packages)} cannot be installed here")
