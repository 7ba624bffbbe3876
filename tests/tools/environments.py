# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments: made from pinned requirements, made again only when these change.

Each holds one link, site-packages/ansible_collections/capacityops/bmc_helix -> this checkout. With it
Ansible, pytest and the linters find the collection by its name, whatever the checkout's folder is called.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from common import CACHE, NAME, NAMESPACE, REQUIREMENTS, ROOT, ToolError, clean_environment, run, say

# A new number has every environment made again.
RECIPE = 1

# The last package of community collections that holds awx.awx, which the role awx_resources uses. It needs Python 3.12.
AWX_PACKAGE = "ansible==13.8.0"


class Environment:
    """A virtual environment that exists and is up to date."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bin = path / "bin"
        self.python = self.bin / "python"

    @property
    def site_packages(self) -> Path:
        """Asked by pattern, not by running the interpreter: this is used on every call of make."""
        return next(self.path.glob("lib/python3.*/site-packages"))

    def variables(self) -> dict[str, str]:
        """The process environment for tools of this environment."""
        env = clean_environment()
        env["PATH"] = os.pathsep.join([str(self.bin), env.get("PATH", os.defpath)])
        env["VIRTUAL_ENV"] = str(self.path)
        env["ANSIBLE_CONFIG"] = str(ROOT / "tests" / "ansible.cfg")
        env["ANSIBLE_HOME"] = str(CACHE / "ansible-home" / self.path.name)
        # Before everything else, so that a copy installed in the user's home cannot be tested by mistake.
        env["ANSIBLE_COLLECTIONS_PATH"] = str(self.site_packages)
        return env

    def version(self, package: str) -> str:
        """The installed version of a package."""
        return run(
            [self.python, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"], quiet=True
        ).strip()

    def _link_collection(self) -> None:
        link = self.site_packages / "ansible_collections" / NAMESPACE / NAME
        if not link.is_symlink() or link.readlink() != ROOT:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(ROOT)


def test_environment() -> Environment:
    """The one for the demo and the tests."""
    environment = ensure(ROOT / ".venv", locked("test"))
    _add_awx(environment)
    return environment


def lint_environment() -> Environment:
    """Linters."""
    return ensure(CACHE / "lint", locked("lint"))


def docs_environment() -> Environment:
    """antsibull-docs, sphinx and its theme."""
    return ensure(CACHE / "docs", locked("docs"))


def importer_environment() -> Environment:
    """galaxy-importer pins old versions that the other tools cannot live with."""
    return ensure(CACHE / "importer", locked("importer"))


def nox_environment() -> Environment:
    """nox, which makes environments of its own for each session."""
    return ensure(CACHE / "nox", locked("nox"))


def empty_environment() -> Environment:
    """What a user has who installed ansible-core and requests, and nothing of this checkout."""
    pins = [pin for pin in locked("test") if pin.startswith("ansible-core==")]
    return ensure(CACHE / "empty", [], extra=[*pins, "requests"], link=False)


def core_environment(core: str, python: str) -> Environment:
    """The tests' packages around another ansible-core."""
    # The first two follow ansible-core. The others are a program of its own and what only it needs, of which an older
    # core is no part. All other pins stay as they are.
    left_out = ("ansible-core", "resolvelib", "ansible-navigator", "ansible-lint", "black", "onigurumacffi", "yamllint")
    pins = [pin for pin in locked("test") if re.split(r"[ =;]", pin)[0] not in left_out]
    series = ".".join(core.split(".")[:2])
    return ensure(CACHE / f"core-{series}", pins, extra=[f"ansible-core=={core}"], python=python)


def locked(name: str) -> list[str]:
    """The pins of tests/requirements/NAME.txt."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith((" ", "#"))]


def ensure(
    path: Path,
    pins: list[str],
    extra: Optional[list[str]] = None,
    python: str = sys.executable,
    *,
    link: bool = True,
) -> Environment:
    """Make the environment unless one with the same content is there."""
    environment = Environment(path)
    content = "\n".join([str(RECIPE), str(ROOT), python, sys.version if python == sys.executable else "", *pins])
    stamp_text = hashlib.sha256("\n".join([content, *(extra or [])]).encode()).hexdigest()
    stamp = path / "stamp"
    with _one_at_a_time():
        if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == stamp_text and _starts(environment.python)):
            began = time.monotonic()
            say(f"making the environment {path.relative_to(ROOT)} (once, until the pinned requirements change)")
            shutil.rmtree(path, ignore_errors=True)
            tool = _install(environment, pins, extra or [], python)
            stamp.write_text(stamp_text, encoding="utf-8")
            about = _versions(environment)
            say(f"{path.relative_to(ROOT)} is ready: {about}, by {tool}, {time.monotonic() - began:.1f} s")
        if link:
            environment._link_collection()
    return environment


def _install(environment: Environment, pins: list[str], extra: list[str], python: str) -> str:
    requirements = CACHE / "pins.txt"
    requirements.write_text("\n".join(pins) + "\n", encoding="utf-8")
    uv = _uv()
    if uv:
        env = _uv_variables()
        install = [uv, "pip", "install", "--quiet", "--python", environment.python]
        try:
            run([uv, "venv", "--quiet", "--python", python, environment.path], env=env, quiet=True)
            # The pins are complete. Looking at what each package asks for would only refuse pytest-ansible
            # beside an ansible-core that has reached its end of life.
            run([*install, "--no-deps", "-r", requirements], env=env, quiet=True)
            if extra:
                run([*install, *extra], env=env, quiet=True)
            return "uv"
        except ToolError as error:
            say(f"uv did not manage, trying pip. {error}")
            shutil.rmtree(environment.path, ignore_errors=True)
    run([python, "-m", "venv", environment.path], env=clean_environment(), quiet=True)
    install = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*install, "--no-deps", "-r", requirements], env=clean_environment(), quiet=True)
    if extra:
        run([*install, *extra], env=clean_environment(), quiet=True)
    return "pip"


def _add_awx(environment: Environment) -> None:
    """Put the collection awx.awx beside ours, alone out of its large package. Without it, some tests are skipped."""
    mark = environment.path / "awx"
    with _one_at_a_time():
        if mark.is_file() and mark.read_text(encoding="utf-8").startswith(AWX_PACKAGE):
            return
        draft = CACHE / "awx"
        shutil.rmtree(draft, ignore_errors=True)
        uv = _uv()
        what = ["--quiet", "--no-deps", "--target", draft, AWX_PACKAGE]
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        installer = [uv, "pip", "install", "--python", environment.python] if uv else pip
        outcome = "installed"
        try:
            run([*installer, *what], env=_uv_variables() if uv else clean_environment(), quiet=True)
            target = environment.site_packages / "ansible_collections" / "awx"
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(draft / "ansible_collections" / "awx", target)
        except (ToolError, OSError) as error:
            outcome = f"cannot be had here, so the tests that need it are skipped: {error}"
            say(f"awx.awx {outcome}")
        shutil.rmtree(draft, ignore_errors=True)
        mark.write_text(f"{AWX_PACKAGE} {outcome}\n", encoding="utf-8")


def _uv() -> Optional[str]:
    """An installed uv, else one of our own; None where it cannot be had."""
    if os.environ.get("DEV_INSTALLER") == "pip":
        return None
    installed = shutil.which("uv")
    own = CACHE / "uv" / "bin" / "uv"
    for candidate in (installed, str(own)):
        if candidate and _starts(Path(candidate)):
            return candidate
    try:
        shutil.rmtree(own.parents[1], ignore_errors=True)
        run([sys.executable, "-m", "venv", own.parents[1]], env=clean_environment(), quiet=True)
        pip = [own.with_name("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--only-binary", ":all:", *locked("uv")], env=clean_environment(), quiet=True)
    except ToolError:
        say("uv cannot be installed here; pip does the same, more slowly")
        return None
    return str(own) if _starts(own) else None


def _uv_variables() -> dict[str, str]:
    env = clean_environment()
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    # Company networks put their own authority into the system's store; pip reads it, uv has to be told.
    env.setdefault("UV_SYSTEM_CERTS", "true")
    if "PIP_INDEX_URL" in env:
        env.setdefault("UV_DEFAULT_INDEX", env["PIP_INDEX_URL"])
    return env


def _versions(environment: Environment) -> str:
    code = (
        "import importlib.metadata as m, platform\n"
        "print('Python', platform.python_version() + ', ansible-core', m.version('ansible-core'))"
    )
    return run([environment.python, "-c", code], quiet=True).strip()


def _starts(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two makes at once would build the same environment over each other."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "environments.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def lock() -> None:
    """Resolve tests/requirements/*.in anew, for every Python from 3.11 on at once."""
    uv = _uv()
    if uv is None:
        raise ToolError("Only uv can resolve for several Pythons at once, and it cannot be installed here.")
    for source in (REQUIREMENTS / f"{name}.in" for name in ("uv", "test", "lint", "docs", "importer", "nox")):
        target = source.with_suffix(".txt")
        command = [uv, "pip", "compile", "--universal", "--python-version", "3.11", "--quiet", "--upgrade"]
        command += ["--no-annotate", "--custom-compile-command", "make lock", "--output-file", target.name]
        # The linters' environment repeats the tests' packages, in the same versions.
        if source.stem == "lint":
            command += ["--constraints", "test.txt"]
        run([*command, source.name], env=_uv_variables(), cwd=REQUIREMENTS, quiet=True)
        say(f"{target.relative_to(ROOT)} is up to date")
