# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup jwt_token in real plays: logins are counted at the server, and what is left behind on the disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.support import COLLECTION, Played, run_ansible
from tests.simulator.client import SimulatorProcess

pytestmark = pytest.mark.full

JWT = f"lookup('{COLLECTION}.jwt_token')"
HASH = f"{{{{ {JWT} | hash('sha256') }}}}"


@pytest.fixture
def five_hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    settings = "{ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    lines = ["all:", "  hosts:", *(f"    h{number}: {settings}" for number in range(5)), ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def left_behind(environment: dict[str, str], tmp_path: Path) -> Callable[[], list[Path]]:
    """Ansible's temporary folder of this test, and what is still in it."""
    folder = tmp_path / "local-tmp"
    environment["ANSIBLE_LOCAL_TEMP"] = str(folder)
    return lambda: sorted(folder.rglob("*"))


def logins(simulator: SimulatorProcess) -> int:
    return int(simulator.control.counters()["logins"])


def fingerprints(done: Played) -> set[str]:
    return set(re.findall(r"\b[0-9a-f]{64}\b", done.output))


@pytest.mark.smoke
def test_one_login_for_ten_tasks_on_five_hosts_with_loops_and_forks(
    play: Callable[..., Played],
    simulator: SimulatorProcess,
    five_hosts: Path,
    left_behind: Callable[[], list[Path]],
) -> None:
    tasks = [
        {"name": f"Use {number}", "ansible.builtin.debug": {"msg": f"{HASH} {{{{ item }}}}"}, "loop": [1, 2, 3]}
        for number in range(10)
    ]
    done = play(tasks, hosts="all", inventory=five_hosts, arguments=("--forks", "20"))
    assert done.rc == 0, done.output
    assert len(done.tasks) == 50
    assert len(fingerprints(done)) == 1
    assert logins(simulator) == 1
    assert left_behind() == []


@pytest.mark.smoke
def test_the_file_is_private_while_the_run_lasts(
    play: Callable[..., Played], simulator: SimulatorProcess, left_behind: Callable[[], list[Path]], tmp_path: Path
) -> None:
    done = play(
        f"""
        - name: Use
          ansible.builtin.debug:
            msg: "{HASH}"
        - name: Look
          ansible.builtin.command: find {tmp_path / "local-tmp"} -name bmc_helix-* -printf '%m %f\\n'
          changed_when: false
        - name: Search for the keys
          ansible.builtin.command: grep -r -e {simulator.access_key} {tmp_path / "local-tmp"}
          register: found
          changed_when: false
          failed_when: found.rc != 1
        """,
    )
    assert done.rc == 0, done.output
    files = sorted(done.task("Look")["stdout_lines"])
    assert [re.sub("[0-9a-f]{32}", "HASH", line) for line in files] == [
        "600 bmc_helix-HASH.json",
        "600 bmc_helix-HASH.lock",
    ]
    assert left_behind() == []


def test_a_failed_play_leaves_nothing_either_and_the_most_talkative_output_shows_no_secret(
    play: Callable[..., Played], simulator: SimulatorProcess, left_behind: Callable[[], list[Path]]
) -> None:
    """`play` searches the output for keys and for anything that looks like a token."""
    use = {"ansible.builtin.debug": {"msg": HASH}}
    done = play([use, use, {"ansible.builtin.fail": {"msg": "on purpose"}}], verbosity=5)
    assert done.rc != 0
    assert left_behind() == []
    assert "jwt_token: logging in for this run" in done.output
    assert re.search(r"jwt_token: using the token of this run, valid for \d+ s more", done.output)
    assert simulator.access_key not in done.output


@pytest.mark.smoke
def test_module_defaults_with_the_action_group(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    """The modules get the token and no keys; the keys stay with the lookup."""
    simulator.control.put_etl(321, name="Load", state="ENDED", duration=1)
    done = play(
        f"""
        - hosts: localhost
          gather_facts: false
          module_defaults:
            group/{COLLECTION}.helix:
              url: {simulator.url}
              ca_path: {simulator.ca_file}
              token: "{{{{ {JWT} }}}}"
          environment:
            HELIX_ACCESS_KEY: ""
            HELIX_ACCESS_SECRET_KEY: ""
          tasks:
            - name: List
              {COLLECTION}.etl_info:
                name_pattern: Load
            - name: Run
              {COLLECTION}.etl_action:
                action: run
                etl_id: 321
                poll_interval: 1
            - name: Wait
              {COLLECTION}.etl_wait:
                etl_id: 321
                until: idle
        """,
        verbosity=5,
    )
    assert done.rc == 0, done.output
    assert done.task("Run")["etl"]["outcome"] == "succeeded"
    assert done.task("List")["etls"][0]["status"] is not None
    assert logins(simulator) == 1


def test_set_fact_keeps_one_token(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    done = play(
        f"""
        - name: Remember
          ansible.builtin.set_fact:
            helix_token: "{{{{ {JWT} }}}}"
          no_log: true
        - name: Type
          ansible.builtin.debug:
            msg: "{{{{ helix_token is string }}}} {{{{ helix_token | hash('sha256') }}}}"
        - name: A fact of the name helix_token is the option token of later uses
          ansible.builtin.debug:
            msg: "{HASH}"
        """,
        verbosity=3,
    )
    assert done.rc == 0, done.output
    assert "True" in done.task("Type")["msg"]
    assert len(fingerprints(done)) == 1
    assert logins(simulator) == 1


def test_a_variable_may_hold_the_lookup_and_empty_variables_of_awx_do_not_count(
    play: Callable[..., Played], simulator: SimulatorProcess
) -> None:
    """In check mode, which logs in and changes nothing."""
    variables = {"helix_token": f"{{{{ {JWT} }}}}", "helix_tenant_id": "{{ tenant }}", "tenant": simulator.tenant_id}
    empty = ["LOGIN_URL", "TENANT_ID", "TOKEN", "VALIDATE_CERTS", "ALLOW_HTTP", "PROXY", "REQUEST_TIMEOUT", "RETRIES"]
    empty += ["CACHE", "CLIENT_CERT", "CLIENT_KEY"]
    tasks = [{"ansible.builtin.debug": {"msg": text}} for text in ("{{ helix_token | hash('sha256') }}", HASH)]
    done = play(tasks, variables=variables, env={f"HELIX_{name}": "" for name in empty}, check=True)
    assert done.rc == 0, done.output
    assert len(fingerprints(done)) == 1
    assert [request["exchange"] for request in simulator.control.requests()] == ["login"]


def test_refused_keys_are_tried_once_in_a_run(
    play: Callable[..., Played], simulator: SimulatorProcess, five_hosts: Path
) -> None:
    """Five hosts and two tasks would be ten wrong logins, after which some portals lock the key."""
    tasks = [{"name": name, "ansible.builtin.debug": {"msg": HASH}, "ignore_errors": True} for name in ("A", "B")]
    done = play(
        tasks,
        hosts="all",
        inventory=five_hosts,
        env={"HELIX_ACCESS_SECRET_KEY": "aWrongSecretKeyThatNobodyMaySee"},
        arguments=("--forks", "20"),
        verbosity=5,
    )
    assert logins(simulator) == 1
    assert [task.failed for task in done.tasks] == [True] * 10
    for task in done.tasks:
        assert "was refused (HTTP 401)" in task["msg"]
        assert "Check access_key and access_secret_key" in task["msg"]
    assert "aWrongSecretKeyThatNobodyMaySee" not in done.output
    assert "Traceback" not in done.output


FAILURES = [
    ("'https://acme-itom.onbmc.com'", "takes no terms"),
    ("acess_key='x'", "has no option acess_key"),
    ("validate_certs='ture'", "is 'ture', which is neither true nor false"),
    ("url='http://127.0.0.1'", "starts with http://"),
    ("url='https://127.0.0.1:9', retries=0", "connection refused"),
]


def test_failures_are_readable(play: Callable[..., Played]) -> None:
    calls = [f"{{{{ lookup('{COLLECTION}.jwt_token', {arguments}) }}}}" for arguments, _words in FAILURES]
    done = play([{"ansible.builtin.debug": {"msg": call}, "ignore_errors": True} for call in calls])
    for task, (_arguments, words) in zip(done.tasks, FAILURES):
        assert task.failed
        assert words in task["msg"]
    assert "Traceback" not in done.output


def test_a_token_is_renewed_before_it_expires(play: Callable[..., Played], simulator: SimulatorProcess) -> None:
    simulator.control.configure(token_life=5)
    done = play(
        f"""
        - name: First
          ansible.builtin.debug:
            msg: "{HASH}"
        - name: Later
          ansible.builtin.pause:
            seconds: 5
        - name: Second
          ansible.builtin.debug:
            msg: "{HASH}"
        """,
    )
    assert done.rc == 0, done.output
    assert len(fingerprints(done)) == 2
    counters = simulator.control.counters()
    assert (counters["logins"], counters["refreshes"]) == (2, 0)


def test_the_documentation_is_complete(environment: dict[str, str], tmp_path: Path) -> None:
    done = run_ansible(["ansible-doc", "-t", "lookup", "--json", f"{COLLECTION}.jwt_token"], environment, tmp_path, 60)
    assert done.rc == 0, done.output
    doc = json.loads(done.stdout)[f"{COLLECTION}.jwt_token"]["doc"]
    assert len(doc["options"]) == 15
    for name, option in doc["options"].items():
        assert option["description"], name
        assert option["env"] == [{"name": f"HELIX_{name.upper()}"}], name
        assert option["ini"] == [{"section": "bmc_helix", "key": name}], name
        assert option["vars"] == [{"name": f"helix_{name}"}], name
    assert doc["options"]["validate_certs"]["default"] is True
