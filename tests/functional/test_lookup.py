# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup jwt_token in real plays: logins are counted at the server, and what is left behind on the disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.support import COLLECTION, Played
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.smoke]

LOOKUP = f"lookup('{COLLECTION}.jwt_token')"
HASH = f"{{{{ {LOOKUP} | hash('sha256') }}}}"


@pytest.fixture
def on_five_hosts(play: Callable[..., Played], tmp_path: Path) -> Callable[..., Played]:
    """Play tasks in twenty forks, with the most talkative output; `play` searches it for keys and tokens."""
    path = tmp_path / "hosts.yml"
    settings = "{ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    lines = ["all:", "  hosts:", *(f"    h{number}: {settings}" for number in range(5)), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return lambda tasks, **more: play(
        tasks, hosts="all", inventory=path, arguments=("--forks", "20"), verbosity=5, **more
    )


def test_one_login_for_a_run_and_nothing_is_left_of_it(
    on_five_hosts: Callable[..., Played], simulator: SimulatorProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    """In loops, on hosts, in a variable, and for modules that get the token and no keys.

    Empty variables, which AWX sets, and omitted options are unset.
    """
    simulator.control.put_etl(321, name="Load", state="ENDED", duration=1)
    folder = tmp_path / "local-tmp"
    environment["ANSIBLE_LOCAL_TEMP"] = str(folder)
    variables = {"helix_token": f"{{{{ {LOOKUP} }}}}", "helix_tenant_id": "{{ tenant }}", "tenant": simulator.tenant_id}
    empty = ("LOGIN_URL", "TOKEN", "VALIDATE_CERTS", "ALLOW_HTTP", "PROXY", "REQUEST_TIMEOUT", "CACHE", "CLIENT_CERT")
    omitting = HASH.replace("jwt_token'", "jwt_token', proxy=nothing | default(omit)")
    texts = (HASH, f"{HASH} {{{{ item }}}}", omitting, "{{ helix_token | hash('sha256') }}")
    defaults = {"url": simulator.url, "ca_path": simulator.ca_file, "token": f"{{{{ {LOOKUP} }}}}", "poll_interval": 1}
    listing = f"find {folder} -name bmc_helix-* -printf '%m %f\\n'"
    search = f'grep -r -e "$HELIX_ACCESS_KEY" -e "$HELIX_ACCESS_SECRET_KEY" {folder}; test $? = 1'
    tasks = [
        *({"ansible.builtin.debug": {"msg": text}, "loop": [1, 2]} for text in texts),
        {
            "name": "Run",
            f"{COLLECTION}.etl_action": {"action": "run", "etl_id": 321},
            "module_defaults": {f"group/{COLLECTION}.helix": defaults},
            "environment": {"HELIX_ACCESS_KEY": "", "HELIX_ACCESS_SECRET_KEY": ""},
            "run_once": True,
        },
        {"name": "Look for files", "ansible.builtin.command": listing, "run_once": True},
        {"name": "Look for keys", "ansible.builtin.shell": search, "run_once": True},
        {"name": "Fail", "ansible.builtin.fail": {"msg": "on purpose"}},
    ]
    done = on_five_hosts(tasks, variables=variables, env={f"HELIX_{name}": "" for name in empty})
    assert {task.task for task in done.tasks if task.failed} == {"Fail"}, done.output
    assert done.task("Run")["etl"]["outcome"] == "succeeded"
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", done.output))) == 1
    assert simulator.control.counters()["logins"] == 1
    files = {re.sub("[0-9a-f]{32}", "HASH", line) for line in done.task("Look for files")["stdout_lines"]}
    assert files >= {"600 bmc_helix-HASH.json", "600 bmc_helix-HASH.lock"}
    assert {line[:4] for line in files} == {"600 "}
    assert sorted(folder.rglob("*")) == []
    assert simulator.access_key not in done.output
    assert "jwt_token: logging in for this run" in done.output
    assert re.search(r"jwt_token: using the token of this run, valid for \d+ s more", done.output)


def test_failures_are_readable_and_refused_keys_are_tried_once(
    on_five_hosts: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    """Five hosts and two tasks would be ten wrong logins, after which some portals lock the key."""
    wrong = "aWrongSecretKeyThatNobodyMaySee"
    calls = [
        ("", "was refused (HTTP 401). Check access_key and access_secret_key"),
        ("'https://acme-itom.onbmc.com'", "takes no terms"),
        ("url='https://127.0.0.1:9', retries=0", "connection refused"),
        ("", "was refused (HTTP 401). Check access_key and access_secret_key"),
    ]
    tasks = [
        {
            "name": f"Fail {number}",
            "ansible.builtin.debug": {"msg": f"{{{{ lookup('{COLLECTION}.jwt_token', {arguments}) }}}}"},
            "ignore_errors": True,
        }
        for number, (arguments, _words) in enumerate(calls)
    ]
    done = on_five_hosts(tasks, env={"HELIX_ACCESS_SECRET_KEY": wrong})
    assert len(done.tasks) == 20
    for task in done.tasks:
        assert task.failed
        assert calls[int(task.task[-1])][1] in task["msg"]
    assert simulator.control.counters()["logins"] == 1
    assert wrong not in done.output
    assert "Traceback" not in done.output
