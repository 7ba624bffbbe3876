# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs pytest: once for `make test`, once for each ansible-core for `make matrix`."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common import CACHE, ROOT, ToolError, path_of_real_pythons, say
from environments import Environment, core_environment


@dataclass(frozen=True)
class Core:
    """An ansible-core release and the Pythons it runs on, the one to try first in front."""

    version: str
    pythons: tuple[str, ...]

    @property
    def series(self) -> str:
        """As people call it: 2.21."""
        return ".".join(self.version.split(".")[:2])


CORES = (
    Core("2.16.19", ("3.11", "3.12")),
    Core("2.17.14", ("3.12", "3.11")),
    Core("2.18.19", ("3.11", "3.12", "3.13")),
    Core("2.19.14", ("3.11", "3.12", "3.13")),
    Core("2.20.10", ("3.12", "3.13", "3.14")),
    Core("2.21.5", ("3.13", "3.12", "3.14")),
    Core("2.22.0rc1", ("3.13", "3.14")),
)

#: What `make matrix` runs on each of them: the rules, and each kind of thing that meets Ansible itself. A warning or a
#: deprecation in a play fails its test.
MATRIX = (
    "tests/unit",
    *(
        f"tests/functional/test_{name}.py"
        for name in ("plumbing", "etl_action_play", "etl_info", "etl_wait", "lookup", "progress", "roles_etl_chain")
    ),
)
#: And on the oldest and the newest: what is written in templates, where cores differ most.
MATRIX_AT_BOTH_ENDS = ("tests/functional/test_playbooks.py", "tests/functional/test_roles_etl_maintenance.py")


def pytest(environment: Environment, arguments: list[str], *, coverage: bool = True, report: str = "test") -> None:
    """Run the tests in this environment."""
    results = CACHE / "results"
    results.mkdir(parents=True, exist_ok=True)
    command = [str(environment.python), "-m", "pytest", f"--junit-xml={results / report}.xml"]
    # A process for each core, each with a simulator of its own; not where somebody wants to look into a test.
    if not {"-n", "-s", "--pdb", "--trace"} & set(arguments):
        command += ["--numprocesses=auto", "--dist=worksteal"]
    if coverage:
        (CACHE / "coverage").mkdir(exist_ok=True)
        command += ["--cov", "--cov-config=.coveragerc", "--cov-report=term", "--cov-report=xml"]
    status = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment.variables(), stdin=subprocess.DEVNULL, check=False
    ).returncode
    if status == 5:
        raise ToolError("pytest found no test.")
    if status:
        raise ToolError(f"pytest ended with status {status}.")


def matrix(chosen: list[str], arguments: list[str]) -> None:
    """Run tests on every ansible-core for which this machine has a Python: those of MATRIX, or all with --all."""
    if "--all" in arguments:
        arguments = [word for word in arguments if word != "--all"]
        more: tuple[str, ...] = ()
    elif any(word.startswith("tests/") for word in arguments):
        more = ()
    else:
        arguments, more = [*MATRIX, *arguments], MATRIX_AT_BOTH_ENDS
    wanted = _cores(chosen) if chosen else CORES
    ends = (CORES[0], CORES[-1])
    rows = [_row(core, [*arguments, *(more if core in ends else ())]) for core in wanted]
    say("the matrix")
    for row in rows:
        print(f"    ansible-core {row.core.version:<10} Python {row.python:<5} {row.seconds:6.1f} s  {row.outcome}")
    bad = [row.core.series for row in rows if row.failed]
    if not chosen:
        ran = {row.core for row in rows if row.seconds}
        bad += ["none of the newest two ran"] * ran.isdisjoint(CORES[-2:])
        bad += ["none of the oldest three ran"] * ran.isdisjoint(CORES[:3])
    if bad:
        raise ToolError(f"Not good: {', '.join(bad)}")


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words that name an ansible-core, such as 2.16, and the others."""
    chosen = [word for word in arguments if word[0].isdigit()]
    return chosen, [word for word in arguments if word not in chosen]


def core_environments(chosen: list[str]) -> Iterator[Environment]:
    """An environment for each of these versions of ansible-core; one without its Python is said and left out."""
    for core in _cores(chosen):
        python = _python_for(core)
        if python is None:
            say(f"ansible-core {core.version} SKIPPED: {_no_python(core)}")
        else:
            yield core_environment(core.version, str(python))


def _cores(chosen: list[str]) -> list[Core]:
    known = {name: core for core in CORES for name in (core.series, core.version)}
    unknown = [word for word in chosen if word not in known]
    if unknown:
        raise ToolError(f"No {', '.join(unknown)}: there are {', '.join(core.series for core in CORES)}.")
    return [known[word] for word in chosen]


@dataclass
class Row:
    """What came of one ansible-core."""

    core: Core
    python: str = "-"
    outcome: str = ""
    seconds: float = 0.0
    failed: bool = False


def _row(core: Core, arguments: list[str]) -> Row:
    python = _python_for(core)
    if python is None:
        return Row(core, outcome=f"SKIPPED: {_no_python(core)}")
    row = Row(core, python.name.removeprefix("python"))
    began = time.monotonic()
    try:
        environment = core_environment(core.version, str(python))
        say(f"ansible-core {core.version} on Python {row.python}")
        pytest(environment, ["-q", "--no-header", *arguments], coverage=False, report=f"core-{core.series}")
        row.outcome = _closing_line(f"core-{core.series}")
    except ToolError as error:
        row.outcome, row.failed = f"FAILED: {error}", True
    row.seconds = time.monotonic() - began
    return row


def _closing_line(report: str) -> str:
    text = (CACHE / "results" / f"{report}.xml").read_text(encoding="utf-8")[:2000]
    counts = {name: int(number) for name, number in re.findall(r'(errors|failures|skipped|tests)="(\d+)"', text)}
    passed = counts["tests"] - counts["errors"] - counts["failures"] - counts["skipped"]
    return f"{passed} passed, {counts['errors'] + counts['failures']} failed, {counts['skipped']} skipped"


def summary() -> str:
    """The counts of the last `make test`, as one line."""
    return "tests: " + _closing_line("test")


def _no_python(core: Core) -> str:
    return f"this machine has none of Python {', '.join(core.pythons)}"


def _python_for(core: Core) -> Optional[Path]:
    for version in core.pythons:
        for folder in path_of_real_pythons():
            candidate = Path(folder) / f"python{version}"
            if os.access(candidate, os.X_OK) and _works(candidate):
                return candidate
    return None


def _works(python: Path) -> bool:
    # A build without these modules cannot run the tests.
    command = [str(python), "-c", "import ssl, ctypes, sqlite3"]
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False
