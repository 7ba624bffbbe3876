# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The molecule scenarios of the roles, each against a simulator of its own: create, converge, idempotence, verify."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.support import ROOT, base_environment, for_ansible

MOLECULE = Path(sys.executable).with_name("molecule")
SCENARIOS = sorted(path.parent.name for path in (ROOT / "extensions" / "molecule").glob("*/molecule.yml"))

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not MOLECULE.exists(), reason="molecule is not installed"),
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, tmp_path: Path) -> None:
    env = {name: value for name, value in for_ansible(base_environment(tmp_path)).items() if "CALLBACK" not in name}
    env["NO_COLOR"] = "1"
    env["MOLECULE_EPHEMERAL_DIRECTORY"] = str(tmp_path / "molecule")
    done = subprocess.run(
        [MOLECULE, "test", "--scenario-name", scenario],
        cwd=ROOT / "extensions",
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    for step in ("create", "converge", "idempotence", "verify", "destroy"):
        assert f"{scenario} > {step}: Executed: Successful" in done.stdout, done.stdout[-8000:]
    assert "[WARNING]" not in done.stdout, done.stdout[-8000:]
    assert "DEPRECATION" not in done.stdout.upper(), done.stdout[-8000:]
