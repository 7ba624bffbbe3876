# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times as the server writes them."""

from __future__ import annotations

import pytest
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import (
    parse_http_date,
    parse_rfc3339,
    rfc3339,
)

MOMENT = 1662648988.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2022-09-08T14:56:28Z", MOMENT),
        (" 2022-09-08t14:56:28z ", MOMENT),
        ("2022-09-08 14:56:28", MOMENT),
        ("2022-09-08T14:56:28.123456789Z", MOMENT),
        ("2022-09-08T16:56:28.5+02:00", MOMENT),
        ("2022-09-08T09:56:28-0500", MOMENT),
        ("1969-12-31T23:59:59Z", -1.0),
        ("9999-12-31T23:59:59-14:00", 253402351199.0),
        (None, None),
        ("", None),
        ("2022-13-08T14:56:28Z", None),
        ("1662648988", None),
        ("\x00", None),
    ],
)
def test_rfc3339_times(text, seconds):
    assert parse_rfc3339(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 08 Sep 2022 14:56:28 -0000", MOMENT),
        ("Thu, 08 Sep 2022 16:56:28 +0200", MOMENT),
        ("Tue, 31 Dec 2999 23:59:59 GMT", 32503679999.0),
        # Far in the future: no run would ever be newer.
        ("Wed, 01 Jan 3000 00:00:00 GMT", None),
        ("Thu, 99 Sep 2022 14:56:28 GMT", None),
        (None, None),
        ("soon", None),
        ("120", None),
    ],
)
def test_http_dates(text, seconds):
    assert parse_http_date(text) == seconds


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (MOMENT + 0.9, "2022-09-08T14:56:28Z"),
        # No calendar has these.
        (1e30, "9999-12-31T23:59:59Z"),
        (2.6e11, "9999-12-31T23:59:59Z"),
        (float("-inf"), "0001-01-01T00:00:00Z"),
        (float("nan"), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_as_the_server_writes_them(epoch, text):
    assert rfc3339(epoch) == text
