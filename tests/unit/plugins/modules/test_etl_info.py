# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table for people."""

from __future__ import annotations

from ansible_collections.capacityops.bmc_helix.plugins.modules.etl_info import table


def test_letters_that_take_two_columns():
    lines = table([{"etl_id": 7, "name": "日次", "kind": "batch", "status": "ENDED"}, {"etl_id": 12, "name": "VMware"}])
    assert lines.splitlines() == [
        "ID  NAME    STATE  EXIT  LAST RUN  AGE",
        "7   日次    ENDED",
        "12  VMware",
    ]
