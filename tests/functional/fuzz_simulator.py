# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check the simulator against the OpenAPI description with schemathesis, which generates the requests.

`make fuzz` runs it, with schemathesis from the environment that SCHEMATHESIS names. Arguments are passed on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import requests

from tests.simulator.api import LOGIN
from tests.simulator.client import SimulatorProcess

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "docs" / "openapi" / "bmc_helix_etl.yaml"
# schemathesis keeps its cache in the folder in which it runs.
WORK = ROOT / ".cache" / "schemathesis"
# A valid id of an ETL that does not exist is answered with 400, as documented, and not with 404.
LEFT_OUT = "positive_data_acceptance"


def main(arguments: list[str]) -> int:
    with SimulatorProcess(https=False) as simulator:
        simulator.control.configure(token_life=10**9)
        simulator.control.put_etl(321, state="ENDED", run_when_running="queue")
        simulator.control.put_etl(53, kind="service", state="SERVICE_ON")
        # Small numbers are generated often.
        simulator.control.put_etl(1, none_style="absent", engine="refuses")
        simulator.control.put_etl(2, none_style="204_empty")
        keys = {"access_key": simulator.access_key, "access_secret_key": simulator.access_secret_key}
        headers = {"Accept": "application/json"}
        login = requests.post(simulator.url + LOGIN, json=keys, headers=headers, timeout=30)
        headers["Authorization"] = f"Bearer {login.json()['json_web_token']}"
        command = [os.environ.get("SCHEMATHESIS", "schemathesis"), "run", str(DESCRIPTION), "--url", simulator.url]
        command += ["--exclude-checks", LEFT_OUT, "--generation-database", "none", "--no-color"]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        WORK.mkdir(parents=True, exist_ok=True)
        return subprocess.run([*command, *arguments], cwd=WORK, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
