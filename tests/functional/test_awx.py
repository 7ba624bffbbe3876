# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role awx_resources creates, against the rules of AWX (tests/awx/rules.py) and a fake of its API
(tests/awx/fake_awx.py), and the playbooks with answers as AWX writes them.

Tests that run the role need the collection awx.awx (in the package `ansible`, up to version 13) in this environment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader

from tests.awx import rules
from tests.awx.fake_awx import TOKEN, FakeAwx, FakeAwxServer
from tests.functional.support import ROOT, SITE_PACKAGES, Played, rescued, run_ansible
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
HAS_AWX = (SITE_PACKAGES / "ansible_collections" / "awx" / "awx").exists()
needs_awx = pytest.mark.skipif(not HAS_AWX, reason="the collection awx.awx is not in this environment")
Playbook = Callable[..., Played]
ROLE = ROOT / "roles" / "awx_resources"
KEYS = {"url": "https://helix.example", "access_key": "AWXKEY8Zq2mP", "access_secret_key": "awx-secret-5Tg9Lw2"}
VARIABLES: dict[str, Any] = {
    "awx_resources_execution_environment_image": "registry.example/helix-ee:1",
    "awx_resources_chain_steps": [{"etl_id": [1, 2]}, {"name": "last", "etl_name": "Import"}],
    "awx_resources_maintenance": {"etl_maintenance_name_pattern": "*"},
    "awx_resources_deploy_template": "My deployment",
}
ALWAYS = ["check tenant", "action", "report", "health", "stop"]
MAINTENANCE = ["enter maintenance", "leave maintenance", "leave maintenance after a failure"]


@pytest.mark.smoke
def test_tls_and_files_are_safe_when_left_out() -> None:
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION

    kind = DataLoader().load_from_file(str(ROLE / "vars" / "main" / "credential_type.yml"))
    fields = {field["id"]: field for field in kind["__awx_resources_inputs"]["fields"]}
    injected = kind["__awx_resources_injectors"]["env"]

    def environment_of(**inputs: str) -> dict[str, str]:
        """The variables that are set in a job with such a credential. An empty variable counts as unset."""
        files = {"ca": "/tmp/ca", "client": "/tmp/client"}
        env = {name: rules.rendered(text, {**KEYS, **inputs}, fields, files) for name, text in injected.items()}
        return {name.removeprefix("HELIX_").lower(): value for name, value in env.items() if value}

    assert set(injected) <= {option.env for option in CONNECTION.values()}
    assert fields["validate_certs"].get("type", "string") == "string"
    assert fields["validate_certs"]["choices"][0] == "true"
    assert all(fields[name]["secret"] for name in ("access_key", "access_secret_key", "proxy", "client_cert"))
    assert environment_of() == KEYS, "certificates are verified"
    more = environment_of(validate_certs="false", ca_cert="PEM")
    assert more == {**KEYS, "validate_certs": "false", "ca_path": "/tmp/ca"}
    assert environment_of(client_cert="PEM") == {**KEYS, "client_cert": "/tmp/client"}


# ---- the playbooks, with extra variables as AWX writes them

#: AWX cannot pass a lone * at all.
NAME = "[PROD] a, b: Zürich {{ 6 * 7 }} isn't #1"
#: Newer versions of ansible-core leave the options of a module out of its result. Pipelining only saves time.
SETTINGS = {"ANSIBLE_INJECT_INVOCATION": "true", "ANSIBLE_PIPELINING": "true"}
DUMP = f"""
- name: Read the variables of the role
  ansible.builtin.include_vars:
    dir: "{ROLE}/{{{{ folder }}}}"
  loop: [defaults, vars/main]
  loop_control:
    loop_var: folder
- name: Show them
  ansible.builtin.debug:
    msg:
      templates: "{{{{ __awx_resources_job_templates }}}}"
      is_attached: "{{{{ awx_resources_credential_attach }}}}"
"""


def played_as_awx(play: Playbook, folder: Path, *playbooks: str, answers: Mapping[str, Any], **keywords: Any) -> Played:
    text = "".join(f"- ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n" for playbook in playbooks)
    (folder / "extravars").write_text(rules.extra_vars(answers, keywords.pop("stored", {})), encoding="utf-8")
    return play(text, arguments=("-e", f"@{folder / 'extravars'}"), env=SETTINGS, **keywords)


def options_of(done: Played, *names: str) -> list[tuple[Any, ...]]:
    """These options of etl_action, in each task that called it."""
    given = [task["invocation"]["module_args"] for task in done.tasks if "invocation" in task]
    return [tuple(args[name] for name in names) for args in given if "if_running" in args]


@pytest.mark.every_core
def test_the_defaults_of_every_survey(play: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> None:
    """In check mode. A question without a default arrives as null."""
    simulator.control.put_etl(1, name="Import", state="RUNNING", duration=None)
    simulator.control.put_etl(2, name="Second", state="ENDED", exit_code="ERROR")
    shown = play(DUMP, extra=VARIABLES).task("Show them")["msg"]
    assert shown["is_attached"] is False, "a credential that does not exist"
    templates = {template["name"]: template for template in shown["templates"]}
    # To leave maintenance, there is no survey.
    names = ["check tenant", "action", "chain", "report", "stop", "enter maintenance", "health"]
    assert set(templates) == {*names, *MAINTENANCE}
    questions = [question for name in names for question in templates[name].get("survey", {"spec": []})["spec"]]
    for question in questions:
        # A launch by API must send a required answer even if the question has a default.
        assert not (question["required"] and question["type"] != "multiplechoice" and question.get("default"))
        assert question.get("default") not in ("*", "&", "!", "=", "<<"), "Ansible cannot read it from AWX"
    # A task fails before its job is terminated.
    waits = {question["variable"]: question["max"] for question in questions if "wait" in question["variable"]}
    assert waits == {"etl_action_wait_timeout": 6000, "etl_chain_answer_wait_timeout": 6000}
    stored = {key: value for name in names for key, value in templates[name].get("extra_vars", {}).items()}
    answers = {question["variable"]: question.get("default") for question in questions}
    answers |= {"etl_action_action": "run", "etl_action_etl_id": "1", "etl_stop_all_name_pattern": "all"}
    answers |= {"etl_chain_answer_max_age": 1800, "etl_chain_answer_wait_timeout": 1200}
    answers |= {"etl_maintenance_record_file": str(tmp_path / "none.json"), "etl_maintenance_name_pattern": "all"}
    playbooks = [templates[name]["playbook"].removesuffix(".yml") for name in names]
    done = played_as_awx(play, tmp_path, *playbooks, answers=answers, stored=stored, check=True)
    # The last one fails, as it should.
    assert done.rc == 2, done.output
    assert "Second" in done.task()["msg"], done.output
    assert simulator.control.counters()["writes"] == 0
    of_action, *of_chain = options_of(done, "wait_timeout", "max_age", "total_timeout")[:3]
    assert of_action == (3600, None, 86400 - 300)
    assert of_chain == [(1200, 1800, None)] * 2, "the template passes its answers to each step"


@pytest.mark.every_core
def test_an_odd_name_through_every_playbook(play: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> None:
    control, name = simulator.control, NAME
    control.put_etl(1, name=name, kind="periodic", state="WAITING", duration=0.2)
    control.put_etl(2, name="Service", kind="service", state="SERVICE_ON")
    (tmp_path / "tasks.yml").write_text("- name: Patch\n  ansible.builtin.ping:\n")
    answers = {
        "etl_action_action": "run",
        "etl_action_etl_name": name,
        "etl_action_max_age": "",
        # A run that is stopped when the time of its job is over needs some of that time.
        "etl_action_time_limit": "600",
        "etl_action_on_timeout": "stop",
        "etl_action_start_timeout": "100",
        "etl_chain_steps": [{"etl_name": [name], "name": name, "poll_interval": "1"}],
        "etl_report_name_pattern": name,
        "etl_health_name_pattern": name,
        "etl_health_expectations": json.dumps([{"name_pattern": [name], "max_age": "26h"}]),
        "etl_stop_all_name_pattern": name,
        "etl_stop_all_confirm": "yes",
        "etl_stop_all_schedules": "yes",
        "deploy_tasks_file": str(tmp_path / "tasks.yml"),
        "etl_maintenance_name_pattern": name,
        "etl_maintenance_poll_interval": "1",
        "etl_maintenance_record_file": str(tmp_path / "record.json"),
        "check_tenant_probe_write": "no",
    }
    order = ["check_tenant", "etl_action", "deploy", "etl_report", "etl_health", "etl_stop_all"]
    done = played_as_awx(play, tmp_path, *order, answers=answers)
    assert done.rc == 0, done.output
    assert options_of(done, "total_timeout")[0] == (500,)
    assert control.counters()["launches_by_etl"] == {1: 2}, "by etl_action, and by the chain of the deployment"
    assert [etl["state"] for etl in control.etls()] == ["ENDED", "SERVICE_ON"], "nothing else was stopped"
    assert "Maintenance is left: 1 ETL is as it was." in done.output
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert [(etl["etl_name"], etl["was"], etl["restored"]) for etl in record["etls"]] == [(name, "WAITING", True)]
    # The record travels to the next job as one text. On the failure path, that job restores the ETLs, and fails.
    control.patch_etl(1, state="ENDED")
    handed_on = json.dumps({**record, "state": "entered", "etls": [{**record["etls"][0], "restored": False}]})
    (tmp_path / "record.json").unlink()
    answers |= {"etl_maintenance_state": "left", "etl_maintenance_record": handed_on}
    answers["etl_maintenance_then_fail"] = "An earlier job failed."
    done = played_as_awx(play, tmp_path, "etl_maintenance", answers=answers)
    assert (done.rc, done.task()["msg"]) == (2, "An earlier job failed."), done.output
    assert control.status(1)["state"] == "WAITING"


@pytest.mark.parametrize(
    ("playbook", "answers"),
    [
        ("etl_action", {"etl_action_action": "stop", "etl_action_name_pattern": "o*", "etl_action_exclude": "off"}),
        ("etl_stop_all", {"etl_stop_all_name_pattern": "off", "etl_stop_all_confirm": "yes"}),
    ],
)
def test_a_name_that_becomes_a_boolean_stops_nothing(
    play: Playbook, simulator: SimulatorProcess, tmp_path: Path, playbook: str, answers: dict[str, str]
) -> None:
    simulator.control.put_etl(1, name="off", state="RUNNING", duration=None)
    done = played_as_awx(play, tmp_path, playbook, answers=answers)
    assert "is a boolean" in done.task()["msg"], done.output
    assert simulator.control.requests() == []


# ---- the role, run against the fake


@pytest.fixture
def fake() -> Iterator[FakeAwxServer]:
    with FakeAwxServer() as server:
        yield server


@pytest.fixture
def with_awx(fake: FakeAwxServer) -> dict[str, Any]:
    """Keywords of `play`. The modules of awx.awx use what newer versions of ansible-core call deprecated."""
    env = {"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN, **SETTINGS}
    return {"env": env, "allow_warnings": True}


@pytest.fixture
def set_up(play: Playbook, with_awx: dict[str, Any]) -> Playbook:
    """Run the playbook with each set of variables, as talkative as it can be. No keys and no token in its output."""

    def run(*sets: Mapping[str, Any], tasks: str = "", check: bool = False) -> Played:
        name = "capacityops.bmc_helix.awx_setup"
        plays = [{"ansible.builtin.import_playbook": name, "vars": dict(variables)} for variables in sets]
        text = yaml.safe_dump(plays, sort_keys=False)
        if tasks:
            text += f"- hosts: localhost\n  gather_facts: false\n  tasks:\n{tasks}"
        done = play(text, check=check, verbosity=4, **with_awx)
        assert done.rc == 0, done.output
        assert [key for key in (KEYS["access_key"], KEYS["access_secret_key"], TOKEN) if key in done.output] == []
        return done

    return run


@needs_awx
def test_set_up_creates_what_is_wanted_and_a_second_run_corrects_only_what_differs(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    awx = fake.awx
    awx.create("job_templates", {"name": "My deployment", "organization": 1})
    little = dict.fromkeys(("awx_resources_prefix", "awx_resources_credential"), "Little") | {
        "awx_resources_organization": "New",
        "awx_resources_credential_inputs": {**KEYS, "validate_certs": ""},
        "awx_resources_credential_attach": False,
    }
    # AWX takes `false` in a field with choices for "nothing", and keeps the first choice: true.
    everything = {**VARIABLES, "awx_resources_credential_inputs": {**KEYS, "validate_certs": False}}
    done = set_up(little, everything)
    assert "is not a valid collection reference" not in done.output
    _check_that_little_was_created(awx)
    _check_that_everything_was_created(awx)

    # A template that somebody changed by hand is corrected; secrets are not sent again.
    templates = {item["name"]: item for item in awx.objects["job_templates"].values()}
    stop, health = templates["Helix ETL: stop"], templates["Helix ETL: health"]
    stop["job_slice_count"] = 3
    before = len(awx.writes)
    # The examples of the guide, with answers that the surveys ask for: "stop" as a failure node, and a schedule.
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_awx.rst").read_text(encoding="utf-8")
    blocks = [block.splitlines(True) for block in guide.split(".. code-block:: yaml+jinja\n")[1:]]
    tasks = [line for lines in blocks for line in takewhile(lambda line: line[0] in " \n", lines)]
    done = set_up({**everything, "awx_resources_secure_logging": False}, tasks="".join(tasks))
    changed = [task.task.rpartition(" : ")[2] for task in done.tasks if task.changed]
    assert changed[:-2] == ["Create the job templates"]
    assert [write for write in awx.writes[before:] if write.startswith("PATCH")] == [f"PATCH {stop['url']}"]
    assert stop["job_slice_count"] == 1
    schedule = awx.one("schedules")
    assert "FREQ=DAILY" in schedule["rrule"]
    for template, sent in ((stop, awx.one("workflow_job_template_nodes", identifier="stop")), (health, schedule)):
        survey = awx.surveys[template["id"]]["spec"]
        required = {question["variable"] for question in survey if question["required"]}
        assert required <= set(sent["extra_data"]) <= {question["variable"] for question in survey}


def _check_that_little_was_created(awx: FakeAwx) -> None:
    """A new organization gets a Galaxy credential. An empty answer verifies certificates."""
    galaxy = awx.one("credentials", name="Ansible Galaxy")["id"]
    assert awx.links["organizations", awx.one("organizations", name="New")["id"], "galaxy_credentials"] == [galaxy]
    templates = [item for item in awx.objects["job_templates"].values() if item["name"].startswith("Little")]
    assert {item["name"] for item in templates} == {f"Little: {name}" for name in ALWAYS}
    assert not any(awx.links.get(("job_templates", item["id"], "credentials")) for item in templates)
    assert awx.one("credentials", name="Little")["inputs"]["validate_certs"] == "true"


def _check_that_everything_was_created(awx: FakeAwx) -> None:
    assert ("organizations", 1, "galaxy_credentials") not in awx.links, "an old organization is left alone"
    kind = awx.one("credential_types", name="BMC Helix Continuous Optimization")
    assert kind["injectors"]["env"]["HELIX_URL"] == "{{ url }}", "AWX must fill it in, not Ansible"
    credential = awx.one("credentials", name="BMC Helix")["id"]
    assert awx.secrets[credential] == {**KEYS, "validate_certs": "false"}
    inventory = awx.one("inventories", name="Helix ETL")["id"]
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    localhost = awx.one("hosts", name="localhost", inventory=inventory)
    assert json.loads(localhost["variables"]) == {"ansible_connection": "local", **python}

    own = [item for item in awx.objects["job_templates"].values() if item["name"].startswith("Helix ETL: ")]
    templates = {item["name"].partition(": ")[2]: item for item in own}
    assert set(templates) == {*ALWAYS, "chain", *MAINTENANCE}
    image = awx.one("execution_environments", name="Helix ETL")["id"]
    for name, template in templates.items():
        assert template["ask_job_type_on_launch"] is True
        assert template["allow_simultaneous"] is False
        assert (template["job_slice_count"], template["timeout"]) == (1, 86400)
        # AWX drops variables that a template does not ask for; leaving needs the record of the window.
        assert template["ask_variables_on_launch"] is ("leave maintenance" in name)
        assert awx.links["job_templates", template["id"], "credentials"] == [credential]
        assert (template["execution_environment"], template["inventory"]) == (image, inventory)
    stored = json.loads(templates["chain"]["extra_vars"])
    assert stored["etl_chain_steps"] == VARIABLES["awx_resources_chain_steps"]

    nodes = awx.objects["workflow_job_template_nodes"]
    links = {
        f"{nodes[start]['identifier']} {how.removesuffix('_nodes')} {nodes[other]['identifier']}"
        for (_kind, start, how), others in awx.links.items()
        if how.endswith("_nodes")
        for other in others
    }
    # A failed node without such a link fails the workflow itself. With it, the last job of that path does.
    assert links == {
        *("enter success deploy", "enter failure restore", "deploy success leave", "deploy failure restore"),
        "leave success refresh",
    }
    restore = awx.one("workflow_job_template_nodes", identifier="restore")["unified_job_template"]
    stored = json.loads(awx.objects["job_templates"][restore]["extra_vars"])
    assert stored["etl_maintenance_state"] == "left"
    assert stored["etl_maintenance_then_fail"]
    # A run shortly before the deployment is no refresh.
    refresh = awx.one("workflow_job_template_nodes", identifier="refresh")
    assert refresh["extra_data"] == {"etl_chain_answer_max_age": 1}


@pytest.mark.smoke
@needs_awx
def test_a_check_run_on_an_empty_controller_reports_what_would_be_created(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    fake.awx.create("job_templates", {"name": "My deployment", "organization": 1})
    everything = {**VARIABLES, "awx_resources_credential_inputs": KEYS}
    done = set_up({"awx_resources_organization": "New"}, everything, check=True)
    assert done.output.count("check mode cannot check the objects") == 2
    assert fake.awx.writes == []


def test_a_project_of_this_repository_brings_the_collection(environment: dict[str, str], tmp_path: Path) -> None:
    """AWX calls ansible-galaxy in the folder of the project. Nothing may come from elsewhere."""
    project, target = tmp_path / "project", tmp_path / "requirements_collections"
    for folder in ("collections", "meta", "playbooks", "plugins", "roles"):
        shutil.copytree(ROOT / folder, project / folder)
    for file in ("galaxy.yml", "README.md", "COPYING"):
        shutil.copy2(ROOT / file, project)
    env = {**environment, "ANSIBLE_COLLECTIONS_PATH": str(target), "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9"}
    words = ["ansible-galaxy", "collection", "install", "-r", "collections/requirements.yml", "--force"]
    done = run_ansible(words, env, project, 100)
    assert done.rc == 0, done.output
    installed = target / "ansible_collections" / "capacityops" / "bmc_helix"
    assert (installed / "plugins" / "modules" / "etl_action.py").exists()
    assert not (installed / "collections").exists()


WRONG: list[tuple[dict[str, Any], str]] = [
    # A workflow without its deployment could be launched, and would stop every ETL and succeed.
    (VARIABLES, "There is no job template My deployment"),
    ({"awx_resources_collection": "ansible.controller"}, "The collection ansible.controller is not installed."),
    ({"awx_resources_wait_timeout": 86400}, "must be larger than awx_resources_wait_timeout"),
    ({"awx_resources_deploy_template": "Mine"}, "needs awx_resources_maintenance"),
    ({"awx_resources_maintenance": {"etl_maintenance_set_stats": False}}, "must be true"),
    ({"awx_resources_credential_inputs": {**KEYS, "acces_key": "x"}}, "acces_key"),
]


@needs_awx
def test_what_cannot_work_is_refused_first(play: Playbook, fake: FakeAwxServer, with_awx: dict[str, Any]) -> None:
    role = "capacityops.bmc_helix.awx_resources"
    done = play([rescued(number, role, variables) for number, (variables, _message) in enumerate(WRONG)], **with_awx)
    for number, (_variables, message) in enumerate(WRONG):
        assert message in str(done.task(f"Told {number}")["msg"])
    assert KEYS["access_secret_key"] not in done.output
    assert fake.awx.writes == []
