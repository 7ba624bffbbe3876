# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""The tests of HTTP and TLS with the libraries of older systems: RHEL 9 and Debian 12, and a first urllib3 2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.functional.support import ROOT

pytestmark = pytest.mark.full

SETS = {
    "requests-2.25": ("requests==2.25.1", "urllib3==1.26.20", "idna==2.10", "chardet==4.0.0"),
    "requests-2.31": ("requests==2.31.0", "urllib3==2.0.7"),
}
SHOW_VERSIONS = "import requests, urllib3; print(f'requests=={requests.__version__} urllib3=={urllib3.__version__}')"


@pytest.mark.parametrize("name", SETS)
def test_older_libraries(name: str) -> None:
    folder = ROOT / ".cache" / "libraries" / name
    if not folder.is_dir():
        uv = shutil.which("uv") or ROOT / ".cache" / "nox" / "bin" / "uv"
        draft = folder.with_name(f"{name}-{os.getpid()}")
        install = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", draft]
        try:
            subprocess.run([*install, *SETS[name]], capture_output=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            pytest.skip(f"{' '.join(SETS[name])} cannot be installed here")
        draft.rename(folder)

    def python(*words: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    assert python("-c", SHOW_VERSIONS).split() == list(SETS[name][:2])
    tests = ("tests/unit/plugins/module_utils/test_http.py", "tests/functional/test_network_tls.py")
    python("-m", "pytest", "-q", "-W", "default", *tests)
