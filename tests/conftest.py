# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For all tests, however pytest is started: `make test`, plain `pytest` in .venv, or ansible-test units."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

# A collection path that comes first hides copies installed in the home folder, which would be tested otherwise.
# It is set while conftest files load, early enough for pytest-ansible, which hands it to Ansible's importer.
_SITE = Path(sysconfig.get_path("purelib"))
if (_SITE / "ansible_collections" / "capacityops" / "bmc_helix").is_symlink():
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(_SITE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in this process, of the network, and of the simulator do not depend on ansible-core."""
    files = ("test_network", "test_simulator", "test_secrets_echo", "test_eda")
    for item in items:
        if "library" in getattr(item, "fixturenames", ()) or item.path.name.startswith(files):
            item.add_marker("one_core")
