# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# /// script
# dependencies = ["nox>=2025.02.09", "antsibull-nox", "ansible-core"]
# ///

"""The sessions of the Ansible community; antsibull-nox.toml says which. `make` does the same without nox."""

from __future__ import annotations

import sys

import nox

try:
    import antsibull_nox
except ImportError:
    print("nox needs antsibull-nox beside it: pip install antsibull-nox", file=sys.stderr)  # noqa: T201
    sys.exit(1)

antsibull_nox.load_antsibull_nox_toml()

if __name__ == "__main__":
    nox.main()
