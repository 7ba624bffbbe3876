# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated BMC Helix Continuous Optimization server for tests, demonstrations, and CI.

The model of the tenant
    C(model) - ETLs and their time; C(tenant) - keys, tokens, and the record of requests; C(settings) - all settings.
HTTP and faults
    C(api) - from a request to a response; C(faults) - which requests fail; C(server) - sockets.
Control and page
    C(control) and C(page.html) - scenarios, profiles, C(/_simulator/...), and the live page.

Tests import C(client), which starts the server as a process (C(__main__)) and controls it.
"""
