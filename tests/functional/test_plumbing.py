# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is tested is the checkout, and warnings fail a test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.support import COLLECTION, INVENTORY, ROOT, Played, run_ansible
from tests.simulator.client import SimulatorProcess


def test_this_process_imports_the_checkout() -> None:
    """A copy in the home folder or in `collections/` would be tested in its place."""
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils import _status

    assert Path(_status.__file__).resolve() == ROOT / "plugins" / "module_utils" / "_status.py"


def test_spawned_modules_import_the_checkout(environment: dict[str, str]) -> None:
    code = f"import ansible_collections.{COLLECTION}.plugins.module_utils._status as m; print(m.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert Path(printed.strip()).resolve() == ROOT / "plugins" / "module_utils" / "_status.py"


def test_ansible_uses_the_checkout(environment: dict[str, str], tmp_path: Path) -> None:
    done = run_ansible(["ansible-doc", "--json", f"{COLLECTION}.etl_action"], environment, tmp_path, 60)
    assert done.rc == 0, done.output
    assert f'"filename": "{environment["ANSIBLE_COLLECTIONS_PATH"]}/ansible_collections/' in done.stdout


def test_no_links_were_written_into_the_checkout() -> None:
    """pytest-ansible does so unless it is told not to."""
    # What AWX installs for a project of this repository; git knows it.
    assert [path.name for path in (ROOT / "collections").iterdir()] == ["requirements.yml"]


@pytest.mark.every_core
def test_warnings_in_a_play_fail_the_test(play: Callable[..., Played]) -> None:
    tasks = "- hosts: nobody\n  tasks: []\n"
    with pytest.raises(AssertionError, match="Could not match supplied host pattern"):
        play(tasks)
    assert "nobody" in play(tasks, allow_warnings=True).warnings[0]


# pytest-ansible's own way to run a module is its host manager. That works on every ansible-core from 2.16 to 2.22,
# but it is deprecated as a whole (each of its fixtures calls it, and `ansible_host` ends the test run on 2.19+), it
# runs Ansible inside the test process, where neither environment nor output is the user's, and it has no check mode
# for a single call. So this one test shows that it works, and all others use `play`, `adhoc` and `module` above.
@pytest.mark.one_core
@pytest.mark.filterwarnings("ignore:Host management is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:AnsibleCollectionFinder has already been configured:UserWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pytest_ansible_runs_the_real_module(
    ansible_adhoc: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.control.put_etl(321, duration=1)
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    hosts = ansible_adhoc(inventory=str(INVENTORY), host_pattern="localhost")
    contacted = getattr(hosts.localhost, f"{COLLECTION}.etl_action")(action="run", etl_id=321)
    result = contacted["localhost"]
    assert result["changed"] is True, dict(result)
