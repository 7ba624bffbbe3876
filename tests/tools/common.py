# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every tool needs: where things are, how to say something, how to run something."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
REQUIREMENTS = ROOT / "tests" / "requirements"
NAMESPACE, NAME = "capacityops", "bmc_helix"
COLLECTION = f"{NAMESPACE}.{NAME}"


class ToolError(Exception):
    """Something that the person at the keyboard has to know; printed without a traceback."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"==> {text}", flush=True)


def run(
    command: Sequence[object], *, env: Optional[Mapping[str, str]] = None, cwd: Path = ROOT, quiet: bool = False
) -> str:
    """Run a command; quiet ones are shown only if they fail, and their output is returned."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        if quiet:
            sys.stdout.write(result.stdout)
        raise ToolError(f"This command ended with status {result.returncode}: {shlex.join(words)}")
    return result.stdout or ""


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would change how Ansible, Python or the product behave."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "HELIX_", "COVERAGE_", "COV_CORE_"))
        and name not in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    }
    # Test servers live on loopback; a proxy of the company must not get to see those requests.
    local = "127.0.0.1,localhost"
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = f"{env[name]},{local}" if env.get(name) else local
    # Ansible refuses to start in a locale that is not UTF-8.
    chosen = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    if sys.platform.startswith("linux") and not chosen.lower().replace("-", "").endswith("utf8"):
        env["LC_ALL"] = "C.UTF-8"
    return env


def pyenv_root() -> Optional[Path]:
    """Where pyenv keeps its Pythons, if there is one."""
    root = os.environ.get("PYENV_ROOT")
    if not root:
        try:
            root = subprocess.run(
                ["pyenv", "root"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None
    return Path(root) if root and Path(root).is_dir() else None


def path_of_real_pythons() -> list[str]:
    """PATH without pyenv's shims (they exist and fail), with the folders that they stand for, newest first."""
    root = pyenv_root()
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    if root is None:
        return folders
    real = sorted(root.glob("versions/3.*/bin"), key=lambda folder: _numbers(folder.parent.name), reverse=True)
    return [str(folder) for folder in real] + [folder for folder in folders if Path(folder).name != "shims"]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
