# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs ansible-test without containers, on the Pythons that are on the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from build import ansible_test_tree
from common import CACHE, ToolError, path_of_real_pythons, say
from environments import Environment, lint_environment

# ansible-test downloads pip's installer from a server of its own, which many networks do not let through.
# The Python that it wants to equip carries pip already.
GET_PIP = """\
import os
import subprocess
import sys

arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
environment = dict(os.environ)
# In processes of their own: ensurepip would switch pip's configuration off for what follows.
subprocess.check_call([sys.executable, "-m", "ensurepip"])
subprocess.check_call([sys.executable, "-m", "pip", "install", *arguments], env=environment)
"""
#: Its pylint needs an archive of a source code host. The releases before it run the same check.
WITHOUT_PYLINT = ("2.22.0rc1",)
GET_PIP_VERSIONS = ("23_1_2", "24_2", "25_2")

PIP_CHATTER = re.compile(
    r"\s*(Attempting|Building|Collecting|Created|Creating|Defaulting|Downloading|Found existing|Getting|Installing|"
    r"Looking|Preparing|Processing|Requirement|Stored|Successfully|Uninstalling|Using cached|WARNING: Location|━)"
)
TARGET = re.compile(r"^Running (\S+) integration test role", re.MULTILINE)
CLOSING_LINE = re.compile(r"=+ .*\d+ (passed|failed|skipped).* =+$")


def sanity(environment: Environment, arguments: list[str]) -> None:
    """All sanity tests; a run that tested nothing is a failure."""
    chosen = any(word.startswith(("--test", "--skip-test")) for word in arguments)
    if not chosen and environment.version("ansible-core") in WITHOUT_PYLINT:
        say("pylint is left out: what this candidate of ansible-core pins for it is in no package index")
        arguments = ["--skip-test", "pylint", *arguments]
    output = _run(environment, "sanity", arguments)
    if not chosen and 'Running sanity test "validate-modules"' not in output:
        raise ToolError("ansible-test sanity did not run validate-modules: it tested nothing.")
    _report_gaps(output)


def units(environment: Environment, arguments: list[str]) -> None:
    """The unit tests the way contributors to ansible-core run them, on every Python there is."""
    output = _run(environment, "units", ["--venv", "--requirements", *arguments])
    if " passed" not in output:
        raise ToolError("ansible-test units ran no test.")
    _report_gaps(output)


def integration(environment: Environment, arguments: list[str]) -> None:
    """The integration targets, here in this Python."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    output = _run(environment, "integration", ["--local", "--python", version, *arguments])
    if not TARGET.search(output):
        raise ToolError("ansible-test integration ran no target.")


def _run(environment: Environment, command: str, arguments: list[str]) -> str:
    env = environment.variables()
    folders = [str(environment.bin), *path_of_real_pythons()]
    # shellcheck comes as a wheel in the environment of the linters.
    env["PATH"] = os.pathsep.join([*folders, str(lint_environment().bin)])
    # ansible-test keeps environments below the home folder. A home of its own keeps them for the next
    # checkout, and the stand-in for get-pip out of other people's runs.
    env["HOME"] = str(_home(env))
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME", "VIRTUAL_ENV"):
        env.pop(name, None)
    tree = ansible_test_tree()
    say(f"ansible-test {command} {' '.join(arguments)}, ansible-core {environment.version('ansible-core')}")
    result = subprocess.run(
        [environment.bin / "ansible-test", command, "--color", "no", *arguments],
        env=env,
        cwd=tree,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    log = CACHE / "results" / f"ansible-test-{command}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(result.stdout, encoding="utf-8")
    print("\n".join(_worth_reading(result.stdout, failed=result.returncode != 0)))
    if result.returncode:
        raise ToolError(f"ansible-test {command} ended with status {result.returncode}; all it said: {log}")
    return result.stdout


def _worth_reading(output: str, *, failed: bool) -> list[str]:
    """Without the installation of its tools, and of what went well only the results."""
    lines = output.splitlines()
    if failed:
        return [line for line in lines if line.strip() and not PIP_CHATTER.match(line)]
    tests = [line.split('"')[1] for line in lines if line.startswith("Running sanity test")]
    results = [line.strip("= ") for line in lines if CLOSING_LINE.match(line)]
    targets = TARGET.findall(output)
    return [
        *results,
        *([f"{len(tests)} sanity tests passed: {', '.join(tests)}"] if tests else []),
        *([f"{len(targets)} integration targets passed: {', '.join(targets)}"] if targets else []),
    ]


def _home(env: dict[str, str]) -> Path:
    real = Path.home()
    base = Path(env.get("XDG_CACHE_HOME") or real / ".cache")
    home = base / "ansible-test-home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in GET_PIP_VERSIONS:
        script = cache / f"get_pip_{version}.py"
        if not script.exists():
            script.write_text(GET_PIP, encoding="utf-8")
    # Where packages come from is the user's business: keep pip's configuration.
    for name in (".pip", ".config/pip"):
        if (real / name).exists() and not (home / name).exists():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).symlink_to(real / name)
    return home


def _report_gaps(output: str) -> None:
    """Say in one place what ansible-test left out; it ends with success all the same."""
    marks = ("Skipping", "Required program", "No tests applicable", "not available", "All targets skipped")
    warnings = {line.strip() for line in output.splitlines() if line.startswith("WARNING")}
    gaps = sorted(line for line in warnings if any(mark in line for mark in marks))
    if gaps:
        say("left out, because it is not on this machine:")
        for line in gaps:
            print(textwrap.fill(line, 118, initial_indent="      ", subsequent_indent="        "))
