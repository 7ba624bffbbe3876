# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the changelog, and proves that what would be released is what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build import build, install, only_installed
from common import CACHE, COLLECTION, ROOT, ToolError, clean_environment, run, say
from environments import Environment

CHANGELOGS = ROOT / "changelogs"
FOLDER = CACHE / "release"
KEY, SECRET_KEY = "RELEASECHECKKEY4M8W2", "release-check-secret-pL5xN9vq-2jRt7Yb"


def changelog(environment: Environment) -> None:
    """Move the fragments into the changelog of the version in galaxy.yml, and list the plugins that are new in it."""
    program = environment.bin / "antsibull-changelog"
    switches = ["--reload-plugins"]
    if _version() in _changelog_versions():
        if _fragments():
            raise ToolError(f"Version {_version()} has its notes already: raise the version in galaxy.yml.")
        switches += ["--refresh-plugins", "--update-existing"]
    run([program, "release", *switches], env=environment.variables(), quiet=True)
    say(f"CHANGELOG.rst has the notes of {_version()}")


def check(empty: Environment, simulator: Environment) -> None:
    """Version, changelog and tag are one; the tarball works where nothing else is installed.

    :param empty: holds ansible-core and requests, and no link to this checkout.
    :param simulator: holds what the simulator needs.
    """
    version = _version()
    _check_version(version)
    _check_changelog(version)
    _check_tag(version)
    tarball = build(simulator)
    if tarball.name != f"{COLLECTION.replace('.', '-')}-{version}.tar.gz":
        raise ToolError(f"The tarball is named {tarball.name}.")
    collections = FOLDER / "collections"
    install(empty, tarball, collections)
    say(f"{tarball.relative_to(ROOT)} is installed in an environment of ansible-core and requests")
    _play_twice(empty, simulator, collections)


def _version() -> str:
    found = re.search(r"^version: (\S+)$", (ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    if not found or not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", found[1]):
        raise ToolError("galaxy.yml names no semantic version.")
    return found[1]


def _changelog_versions() -> list[str]:
    """Newest last."""
    text = (CHANGELOGS / "changelog.yaml").read_text(encoding="utf-8")
    return re.findall(r"^  (\d+\.\d+\.\d+\S*):$", text, re.MULTILINE)


def _fragments() -> list[str]:
    return sorted(path.name for path in (CHANGELOGS / "fragments").glob("*.yml"))


def _check_version(version: str) -> None:
    source = (ROOT / "plugins" / "module_utils" / "_http.py").read_text(encoding="utf-8")
    if f'\nVERSION = "{version}"\n' not in source:
        raise ToolError(f"VERSION in plugins/module_utils/_http.py is not {version}, which galaxy.yml says.")


def _check_changelog(version: str) -> None:
    versions = _changelog_versions()
    if versions[-1:] != [version]:
        raise ToolError(f"The newest notes are of {versions[-1:] or 'no version'}, not of {version}: make changelog")
    if f"\nv{version}\n===" not in (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"):
        raise ToolError(f"CHANGELOG.rst has no part for {version}: make changelog")
    if _fragments():
        raise ToolError(f"These fragments are in no release: {', '.join(_fragments())}.")
    text = (CHANGELOGS / "changelog.yaml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\s+(?:- )?name: (\w+)$", text, re.MULTILINE))
    missing = sorted(_plugins() - listed)
    if missing:
        raise ToolError(f"The changelog does not announce {', '.join(missing)}: make changelog")
    say(f"version and changelog: {version}")


def _plugins() -> set[str]:
    """Everything that a user can call by name. Action plugins are parts of the modules of the same name."""
    files = [path for kind in ("modules", "lookup") for path in (ROOT / "plugins" / kind).glob("[a-z]*.py")]
    files += [*(ROOT / "playbooks").glob("*.yml"), *(path.parent for path in (ROOT / "roles").glob("*/meta"))]
    return {path.stem for path in files}


def _check_tag(version: str) -> None:
    here = _git("tag", "--points-at", "HEAD").split()
    if version in here:
        changed = _git("status", "--porcelain").strip()
        if changed:
            raise ToolError(f"HEAD is tagged {version}, but these files differ from it:\n{changed}")
        say(f"tag: {version}")
    elif here:
        raise ToolError(f"HEAD is tagged {', '.join(here)}, not {version}.")
    elif version in _git("tag").split():
        raise ToolError(f"Version {version} is tagged already, on another commit: raise the version in galaxy.yml.")
    else:
        say(f"tag: none yet; after this, git tag -a {version} -m {version}")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout


def _play_twice(empty: Environment, simulator: Environment, collections: Path) -> None:
    """The playbook of the demo predicts a change, makes it, and changes nothing the second time."""
    env = only_installed(empty, collections)
    # Neither the checkout nor this machine's settings are in reach.
    env["ANSIBLE_HOME"] = str(FOLDER / "home")
    with _simulator(simulator, collections) as variables:
        env |= variables
        command = [empty.bin / "ansible-playbook", "-i", "tests/inventory.yml", "tests/demo/demo.yml"]
        for wanted in (2, 0):
            recap = run(command, env=env, quiet=True).splitlines()[-2:]
            if not any(f"changed={wanted} " in line and "failed=0 " in line for line in recap):
                raise ToolError(f"The playbook should end with changed={wanted}. It said: {' '.join(recap)}")
    say("the playbook of the demo works with it: changed=2, and then changed=0")


@contextmanager
def _simulator(environment: Environment, collections: Path) -> Iterator[dict[str, str]]:
    """The simulator that is in the tarball, as the README tells users to start it."""
    state = FOLDER / "simulator"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    package = f"ansible_collections.{COLLECTION}.tests.simulator"
    command = [str(environment.python), "-m", package, "--scenario", "demo", "--speed", "4", "--state-dir", str(state)]
    command += ["--access-key", KEY, "--access-secret-key", SECRET_KEY, "--stop-after", "300", "--stop-with-stdin"]
    with (state / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=state,
            env={**clean_environment(), "PYTHONPATH": str(collections)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while not (state / "ready.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ToolError(f"The simulator did not start. It said:\n{(state / 'log.txt').read_text('utf-8')}")
            time.sleep(0.05)
        yield {
            "HELIX_URL": re.findall(r'"url": "([^"]+)"', (state / "ready.json").read_text("utf-8"))[0],
            "HELIX_CA_PATH": str(state / "ca.pem"),
            "HELIX_ACCESS_KEY": KEY,
            "HELIX_ACCESS_SECRET_KEY": SECRET_KEY,
        }
    finally:
        process.terminate()
        process.wait(10)
