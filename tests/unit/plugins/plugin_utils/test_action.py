# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins hand to the modules."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest import mock

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._run_files import CHANNEL
from ansible_collections.capacityops.bmc_helix.plugins.plugin_utils._action import HelixAction


def test_without_a_folder_for_progress_the_module_still_knows_its_task(tmp_path):
    action = HelixAction.__new__(HelixAction)
    action._task = SimpleNamespace(no_log=False, async_val=0, environment=None)
    about = {"run": "1", "task": "play.yml:7", "host": "a", "notes": str(tmp_path / "missing")}
    given = []
    with mock.patch.object(action, "_about", return_value=about):
        action._followed(lambda: given.extend(action._task.environment) or {}, {})
    (variables,) = given
    assert json.loads(variables[CHANNEL]).items() >= about.items()
    assert action._task.environment is None
