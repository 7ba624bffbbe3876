# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands between two slices of a wait."""

from __future__ import annotations

import json

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._slices import (
    Slice,
    seal,
    slice_argument_spec,
    unseal,
)
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import FakeClock

KEY = "0123456789abcdef" * 4
TOKEN = {"token": "eyJhbGciOiJub25lIn0.eyJuIjoxfQ.c2ln", "refresh_token": "r" * 30, "usable": 500.0, "renewals": 2}


def test_what_is_sealed_comes_back():
    sealed = seal(TOKEN, KEY, 3)
    assert unseal(sealed, KEY, 3) == TOKEN
    assert "eyJ" not in sealed
    assert "rrr" not in sealed
    # the same again looks different with every number
    assert seal(TOKEN, KEY, 4)[:20] != sealed[:20]


@pytest.mark.parametrize("change", ["key", "number", "byte", "cut", "empty", "noise"])
def test_what_was_tampered_with_is_refused(change):
    sealed = seal(TOKEN, KEY, 3)
    if change == "byte":
        sealed = sealed[:-8] + ("A" if sealed[-8] != "A" else "B") + sealed[-7:]
    if change == "cut":
        sealed = sealed[:40]
    if change == "empty":
        sealed = ""
    if change == "noise":
        sealed = "***"
    with pytest.raises(HelixError) as caught:
        unseal(sealed, KEY[::-1] if change == "key" else KEY, 4 if change == "number" else 3)
    assert caught.value.remedy
    assert "eyJ" not in caught.value.sentence()


def make(number, carried=None, clock=None, quiet=10.0, beat=30.0):
    option = {"number": number, "quiet": quiet, "beat": beat, "carried": carried}
    part = Slice.from_options(option, KEY, clock or FakeClock())
    assert part is not None
    return part


def carried_through(clock, token=None):
    progress = [Progress(1, baseline=["ENDED", "OK", "T"], began=0.5), Progress(2, phase="done", outcome="fresh")]
    return progress, json.loads(json.dumps(make(0, clock=clock).carry(progress, token, 12.5, clock)))


def test_progress_token_and_time_are_carried():
    clock = FakeClock()
    progress, carried = carried_through(clock, dict(TOKEN))
    assert "eyJ" not in json.dumps(carried)
    clock.pass_by(4.0)
    part = make(1, carried, clock)
    assert part.progress == progress
    assert part.elapsed == 16.5
    assert part.token == {**TOKEN, "usable": 496.0}


def test_without_a_token():
    clock = FakeClock()
    _progress, carried = carried_through(clock)
    assert make(1, carried, clock).token is None


@pytest.mark.parametrize(("gap", "counted"), [(0.0, 0.0), (59.0, 59.0), (1e6, 60.0), (-1e6, 0.0)])
def test_a_clock_that_jumps_between_two_slices_costs_at_most_a_minute(gap, counted):
    clock = FakeClock()
    _progress, carried = carried_through(clock, dict(TOKEN))
    clock.pass_by(gap)
    part = make(1, carried, clock)
    assert part.elapsed == 12.5 + counted


@pytest.mark.parametrize(("option", "key"), [(None, None), ({}, KEY), ({"number": 0}, None), ({"number": 0}, "")])
def test_alone_a_module_runs_in_one_piece(option, key):
    assert Slice.from_options(option, key, FakeClock()) is None


def test_when_a_slice_ends():
    clock = FakeClock()
    p = Progress(1)
    due = make(0, clock=clock).pause([p], clock)
    assert not due()
    clock.pass_by(11)
    assert not due(), "nothing has changed"
    p.last = ["RUNNING", None, None]
    assert due(), "a change, and it was quiet long enough"
    p.last = None
    assert not due()
    clock.pass_by(19)
    assert due(), "the heartbeat"


def test_a_change_does_not_end_a_young_slice():
    clock = FakeClock()
    p = Progress(1)
    due = make(0, clock=clock).pause([p], clock)
    p.last = ["RUNNING", None, None]
    clock.pass_by(9)
    assert not due()


def test_the_key_is_hidden():
    spec = slice_argument_spec()
    assert all(name.startswith("_") for name in spec)
    assert spec["_slice_key"]["no_log"]
