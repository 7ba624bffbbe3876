# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A script without Ansible: run ETLs and wait, with requests only.

`python bare.py ETL_ID ...` fails unless all ETLs exit with OK or WARNING. Without errors, it does the same as the
collection: read the state, send one request, poll until the run is over. It handles no lost response, no expired
token, and no restart of a gateway.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from requests.adapters import HTTPAdapter

LOOK_EVERY = 0.3


class Client:
    def __init__(self, max_parallel: int) -> None:
        self._url = os.environ["HELIX_URL"]
        self._ca_file = os.environ["HELIX_CA_PATH"]
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        self._session.mount("https://", HTTPAdapter(pool_maxsize=max_parallel))
        keys = {name: os.environ[f"HELIX_{name.upper()}"] for name in ("access_key", "access_secret_key")}
        answer = self._call("POST", "/ims/api/v1/access_keys/login", keys)
        self._session.headers["Authorization"] = f"Bearer {answer['json_web_token']}"

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = self._session.request(method, self._url + path, json=body, timeout=30, verify=self._ca_file)
        response.raise_for_status()
        return dict(response.json())

    def _status(self, etl_id: int) -> dict[str, Any]:
        return self._call("GET", f"/opt/api/v1/backend/etls/{etl_id}/status")

    def run(self, etl_id: int) -> str:
        """Run the ETL unless it is running, wait for the end; its exit code."""
        before = self._status(etl_id)
        seen_running = before["status"] == "RUNNING"
        if not seen_running:
            body: dict[str, Any] = {"run_execution_properties": {}}
            answer = self._call("POST", f"/opt/api/v1/backend/etls/{etl_id}/run", body)
            if answer["request_status"] != "OK":
                return str(answer["request_status"])
        while True:
            time.sleep(LOOK_EVERY)
            now = self._status(etl_id)
            if now["status"] == "RUNNING":
                seen_running = True
            elif seen_running or now["last_exec_ts"] != before["last_exec_ts"]:
                return str(now["exit_code"])


if __name__ == "__main__":
    etl_ids = [int(word) for word in sys.argv[1:]]
    client = Client(len(etl_ids))
    with ThreadPoolExecutor(len(etl_ids)) as pool:
        sys.exit(not set(pool.map(client.run, etl_ids)) <= {"OK", "WARNING"})
