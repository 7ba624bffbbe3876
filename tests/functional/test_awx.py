# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role awx_resources creates, against the rules of AWX (tests/awx/rules.py) and a fake of its API
(tests/awx/fake_awx.py), and the playbooks with answers as AWX writes them.

Tests that run the role need the collection awx.awx (in the package `ansible`, up to version 13) in this environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.awx import rules
from tests.awx.fake_awx import TOKEN, FakeAwxServer
from tests.functional.support import ROOT, SITE_PACKAGES, Played, rescued
from tests.simulator.client import SimulatorProcess

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
HAS_AWX = (SITE_PACKAGES / "ansible_collections" / "awx" / "awx").exists()
needs_awx = pytest.mark.skipif(not HAS_AWX, reason="the collection awx.awx is not in this environment")
Playbook = Callable[..., Played]
KEYS = {"url": "https://helix.example", "access_key": "AWXKEY8Zq2mP", "access_secret_key": "awx-secret-5Tg9Lw2"}
VARIABLES: dict[str, Any] = {
    "awx_resources_credential_inputs": KEYS,
    "awx_resources_execution_environment_image": "registry.example/helix-ee:1",
    "awx_resources_chain_steps": [{"etl_id": [1, 2]}, {"name": "last", "etl_name": "Import"}],
    "awx_resources_maintenance": {"etl_maintenance_name_pattern": "*"},
    "awx_resources_deploy_template": "My deployment",
}
ALWAYS = ["check tenant", "action", "report", "health", "stop"]
MAINTENANCE = ["enter maintenance", "leave maintenance", "leave maintenance after a failure"]
DUMP = """
- name: Read the variables of the role
  ansible.builtin.include_vars:
    dir: "{role}/{{{{ folder }}}}"
  loop: [defaults, vars/main]
  loop_control:
    loop_var: folder
- name: Show them
  ansible.builtin.debug:
    msg:
      inputs: "{{{{ __awx_resources_inputs }}}}"
      injectors: "{{{{ __awx_resources_injectors }}}}"
      templates: "{{{{ __awx_resources_job_templates }}}}"
      nodes: "{{{{ __awx_resources_nodes }}}}"
"""
_DUMPED: dict[str, Any] = {}


# ---- what the role would create


@pytest.fixture
def objects(play: Playbook) -> dict[str, Any]:
    """The data of the role, as Ansible templates it. Read once; nobody changes it."""
    if not _DUMPED:
        done = play(DUMP.format(role=ROOT / "roles" / "awx_resources"), extra=VARIABLES)
        assert done.rc == 0, done.output
        _DUMPED.update(done.task("Show them")["msg"])
    return _DUMPED


def questions(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(template.get("survey", {"spec": []})["spec"])


def test_all_objects_are_acceptable(objects: dict[str, Any]) -> None:
    from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION

    assert rules.credential_type("cloud", objects["inputs"], objects["injectors"]) == []
    assert set(objects["injectors"]["env"]) <= {option.env for option in CONNECTION.values()}
    templates = {template["name"]: template for template in objects["templates"] if template["wanted"]}
    assert set(templates) == {*ALWAYS, "chain", *MAINTENANCE}
    for name, template in templates.items():
        assert (ROOT / "playbooks" / template["playbook"]).exists()
        assert "survey" not in template or rules.survey(template["survey"]) == [], name
        for question in questions(template):
            # A launch by API must send a required answer even if the question has a default.
            assert not (question["required"] and question["type"] != "multiplechoice" and question.get("default"))
            assert question.get("default") not in ("*", "&", "!", "=", "<<"), "Ansible cannot read it from AWX"
    # A task fails before its job is terminated.
    waits = {q["variable"]: q["max"] for t in templates.values() for q in questions(t) if "wait" in q["variable"]}
    assert waits == {"etl_action_wait_timeout": 6000, "etl_chain_answer_wait_timeout": 6000}
    assert templates["action"]["extra_vars"]["etl_action_time_limit"] == 86400 - 300


def test_tls_and_files_are_safe_when_left_out(objects: dict[str, Any]) -> None:
    fields = {field["id"]: field for field in objects["inputs"]["fields"]}
    assert fields["validate_certs"].get("type", "string") == "string"
    assert fields["validate_certs"]["choices"][0] == "true"
    assert all(fields[name]["secret"] for name in ("access_key", "access_secret_key", "proxy", "client_cert"))
    # An empty variable counts as unset, so certificates are verified.
    env = environment_of(objects, KEYS)
    assert {name for name, value in env.items() if value} == {
        "HELIX_URL",
        "HELIX_ACCESS_KEY",
        "HELIX_ACCESS_SECRET_KEY",
    }
    env = environment_of(objects, {**KEYS, "validate_certs": "false", "ca_cert": "PEM"})
    assert (env["HELIX_VALIDATE_CERTS"], env["HELIX_CA_PATH"], env["HELIX_CLIENT_CERT"]) == ("false", "/tmp/ca", "")
    assert environment_of(objects, {**KEYS, "client_cert": "PEM"})["HELIX_CLIENT_CERT"] == "/tmp/client"


def environment_of(objects: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job gets from a credential with these fields."""
    ids = [field["id"] for field in objects["inputs"]["fields"]]
    files = {"ca": "/tmp/ca", "client": "/tmp/client"}
    env = objects["injectors"]["env"]
    return {name: rules.rendered(template, inputs, ids, files) for name, template in env.items()}


def test_every_failure_in_the_workflow_fails_it(objects: dict[str, Any]) -> None:
    nodes = {node["identifier"]: node for node in objects["nodes"]}
    assert list(nodes) == ["enter", "deploy", "leave", "refresh", "restore"]
    for name, node in nodes.items():
        links = node.get("related", {})
        after = [link["identifier"] for kind in ("failure_nodes", "always_nodes") for link in links.get(kind, [])]
        # A failed node without such a link fails the workflow itself.
        assert after in ([], ["restore"]), name
    # A run shortly before the deployment is no refresh.
    assert nodes["refresh"]["extra_data"] == {"etl_chain_answer_max_age": 1}
    restore = nodes["restore"]["unified_job_template"]["name"].partition(": ")[2]
    template = next(template for template in objects["templates"] if template["name"] == restore)
    assert template["extra_vars"]["etl_maintenance_state"] == "left"
    assert template["extra_vars"]["etl_maintenance_then_fail"]
    assert "related" not in nodes["restore"]


# ---- the playbooks, with extra variables as AWX writes them

#: AWX cannot pass a lone * at all.
NAME = "[PROD] a, b: Zürich {{ 6 * 7 }} isn't #1"


def as_awx(folder: Path, answers: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """Command-line arguments: answers are unsafe texts, and what the template stores is not."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{text(key)}: {text(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(text(item) for item in value) + "]"
        if not isinstance(value, str):
            return json.dumps(value)
        quoted = json.dumps(value, ensure_ascii=False) if "\n" in value else "'" + value.replace("'", "''") + "'"
        return f"!unsafe {quoted}"

    lines = [f"{text(key)}: {text(value)}\n" for key, value in answers.items()]
    lines += [f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in (stored or {}).items()]
    (folder / "extravars").write_text("".join(lines), encoding="utf-8")
    return "-e", f"@{folder / 'extravars'}"


def played_as_awx(play: Playbook, folder: Path, *playbooks: str, answers: Mapping[str, Any], **keywords: Any) -> Played:
    text = "".join(f"- ansible.builtin.import_playbook: capacityops.bmc_helix.{playbook}\n" for playbook in playbooks)
    stored = keywords.pop("stored", {})
    return play(text, arguments=as_awx(folder, answers, stored), timeout=290, **keywords)


@pytest.mark.every_core
def test_the_defaults_of_every_survey(
    objects: dict[str, Any], play: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """In check mode, with the templates in two runs. A question without a default arrives as null."""
    simulator.control.put_etl(1, name="Import", state="RUNNING", duration=None)
    simulator.control.put_etl(2, name="Second", state="ENDED", exit_code="ERROR")
    needed = {"etl_action_action": "run", "etl_action_etl_id": "1", "etl_stop_all_name_pattern": "all"}
    record = {"format": 1, "state": "entered", "entered_at": "now", "etls": []}
    templates = {template["name"]: template for template in objects["templates"]}
    runs = (
        ["check tenant", "action", "chain", "report", "stop", "enter maintenance", "health"],
        ["leave maintenance after a failure"],
    )
    assert {*runs[0], *runs[1], "leave maintenance"} == set(templates)
    for names in runs:
        answers: dict[str, Any] = {
            "etl_maintenance_record_file": str(tmp_path / "none.json"),
            "etl_maintenance_record": json.dumps(record),
            "etl_maintenance_name_pattern": "all",
        }
        stored: dict[str, Any] = {}
        for name in names:
            answers |= {q["variable"]: needed.get(q["variable"], q.get("default")) for q in questions(templates[name])}
            stored |= templates[name].get("extra_vars", {})
        stored = {key: value for key, value in stored.items() if key not in answers}
        playbooks = [templates[name]["playbook"].removesuffix(".yml") for name in names]
        done = played_as_awx(play, tmp_path, *playbooks, answers=answers, stored=stored, check=True)
        # The last one of each run fails, as it should.
        assert done.rc == 2, done.output
        wanted = "Second" if "health" in names else "An earlier job of the workflow failed"
        assert wanted in done.task()["msg"], done.output
    assert simulator.control.counters()["writes"] == 0


@pytest.mark.every_core
def test_an_odd_name_through_every_playbook(play: Playbook, simulator: SimulatorProcess, tmp_path: Path) -> None:
    control, name = simulator.control, NAME
    control.put_etl(1, name=name, kind="periodic", state="WAITING", duration=0.2)
    control.put_etl(2, name="Service", kind="service", state="SERVICE_ON")
    (tmp_path / "tasks.yml").write_text("- name: Patch\n  ansible.builtin.ping:\n")
    answers = {
        **{f"etl_action_{key}": value for key, value in {"action": "run", "etl_name": name, "max_age": ""}.items()},
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
    assert control.counters()["launches_by_etl"] == {1: 2}, "by etl_action, and by the chain of the deployment"
    assert [etl["state"] for etl in control.etls()] == ["ENDED", "SERVICE_ON"], "nothing else was stopped"
    assert "Maintenance is left: 1 ETL is as it was." in done.output
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert [(etl["etl_name"], etl["was"], etl["restored"]) for etl in record["etls"]] == [(name, "WAITING", True)]
    # The record travels to the next job as one text.
    control.patch_etl(1, state="ENDED")
    handed_on = json.dumps({**record, "state": "entered", "etls": [{**record["etls"][0], "restored": False}]})
    (tmp_path / "record.json").unlink()
    answers |= {"etl_maintenance_state": "left", "etl_maintenance_record": handed_on}
    done = played_as_awx(play, tmp_path, "etl_maintenance", answers=answers)
    assert done.rc == 0, done.output
    assert control.status(1)["state"] == "WAITING"


def test_a_name_that_becomes_a_boolean_acts_on_no_other_etl(
    play: Playbook, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    name = "off"
    for number, label in enumerate((name, "Other"), 1):
        simulator.control.put_etl(number, name=label, state="RUNNING", duration=None)
    tries: list[tuple[str, dict[str, str]]] = [
        ("etl_action", {"etl_action_action": "stop", "etl_action_etl_name": name}),
        ("etl_action", {"etl_action_action": "stop", "etl_action_name_pattern": "*h*", "etl_action_exclude": name}),
        ("etl_stop_all", {"etl_stop_all_name_pattern": name, "etl_stop_all_confirm": "yes"}),
    ]
    for playbook, answers in tries:
        done = played_as_awx(play, tmp_path, playbook, answers=answers)
        # On ansible-core before 2.19, it is a text.
        assert done.rc == 0 or "is a boolean" in done.task()["msg"], done.output
        other = simulator.control.status(2)["state"]
        assert other == ("ENDED" if done.rc == 0 and "etl_action_exclude" in answers else "RUNNING")
        simulator.control.patch_etl(2, state="RUNNING")


def test_an_action_ends_before_its_job(playbook: Playbook, simulator: SimulatorProcess) -> None:
    for number in (1, 2):
        simulator.control.put_etl(number, name=f"ETL {number}", state="ENDED", duration=1000)
    answers = {"action": "run", "etl_id": "1,2", "max_parallel": "1", "time_limit": 3}
    done = playbook("etl_action", {f"etl_action_{key}": value for key, value in answers.items()})
    assert done.rc == 2
    assert [etl["outcome"] for etl in done.task("Act on the ETLs: run")["etls"]] == ["timed_out", "not_tried"]


# ---- the role, run against the fake


@pytest.fixture
def fake() -> Iterator[FakeAwxServer]:
    with FakeAwxServer() as server:
        yield server


@pytest.fixture
def with_awx(fake: FakeAwxServer) -> dict[str, Any]:
    """Keywords of `play`. The modules of awx.awx use what newer versions of ansible-core call deprecated."""
    return {"env": {"CONTROLLER_HOST": fake.url, "CONTROLLER_OAUTH_TOKEN": TOKEN}, "allow_warnings": True}


@pytest.fixture
def set_up(playbook: Playbook, with_awx: dict[str, Any], tmp_path: Path) -> Playbook:
    """Run the playbook, as talkative as it can be. Keys and token must not be in its output."""

    def run(*, check: bool = False, **variables: Any) -> Played:
        # In a file, because the command line itself is in the output.
        (tmp_path / "variables.json").write_text(json.dumps(variables))
        file = ("--extra-vars", f"@{tmp_path / 'variables.json'}")
        done = playbook("awx_setup", arguments=file, check=check, verbosity=4, **with_awx)
        shown = [key for key in (KEYS["access_key"], KEYS["access_secret_key"], TOKEN) if key in done.output]
        assert shown == []
        return done

    return run


@needs_awx
def test_set_up_creates_everything_and_a_second_run_corrects_only_what_differs(
    set_up: Playbook, play: Playbook, fake: FakeAwxServer, with_awx: dict[str, Any]
) -> None:
    awx = fake.awx
    awx.create("job_templates", {"name": "My deployment", "organization": 1})
    # AWX takes `false` in a field with choices for "nothing", and keeps the first choice: true.
    variables = {**VARIABLES, "awx_resources_credential_inputs": {**KEYS, "validate_certs": False}}
    done = set_up(**variables)
    assert done.rc == 0, done.output
    assert "is not a valid collection reference" not in done.output

    kind = awx.one("credential_types", name="BMC Helix Continuous Optimization")
    assert kind["injectors"]["env"]["HELIX_URL"] == "{{ url }}", "AWX must fill it in, not Ansible"
    assert awx.secrets[awx.one("credentials", name="BMC Helix")["id"]] == {**KEYS, "validate_certs": "false"}
    localhost = json.loads(awx.one("hosts", name="localhost")["variables"])
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    assert localhost == {"ansible_connection": "local", **python}
    own = [item for item in awx.objects["job_templates"].values() if item["name"].startswith("Helix ETL: ")]
    templates = {item["name"].partition(": ")[2]: item for item in own}
    assert set(templates) == {*ALWAYS, "chain", *MAINTENANCE}
    for name, template in templates.items():
        assert template["ask_job_type_on_launch"] is True
        assert template["allow_simultaneous"] is False
        assert (template["job_slice_count"], template["timeout"]) == (1, 86400)
        # AWX drops variables that a template does not ask for; leaving needs the record of the window.
        assert template["ask_variables_on_launch"] is ("leave maintenance" in name)
        assert len(awx.links["job_templates", template["id"], "credentials"]) == 1
        assert template["execution_environment"] == awx.one("execution_environments", name="Helix ETL")["id"]
    chain = json.loads(templates["chain"]["extra_vars"])
    assert chain["etl_chain_steps"] == VARIABLES["awx_resources_chain_steps"]
    assert chain["etl_chain_defaults"]["max_age"].startswith("{{ etl_chain_answer_max_age")
    names = {node["id"]: node["identifier"] for node in awx.objects["workflow_job_template_nodes"].values()}
    links = {
        f"{names[start]} {how.removesuffix('_nodes')} {names[other]}"
        for (what, start, how), others in awx.links.items()
        if what.endswith("_nodes")
        for other in others
    }
    assert links == {
        *("enter success deploy", "enter failure restore", "deploy success leave", "deploy failure restore"),
        "leave success refresh",
    }

    # A template that somebody changed by hand is corrected.
    before = awx.state()
    templates["stop"]["job_slice_count"] = 3
    done = set_up(**variables)
    assert done.rc == 0, done.output
    assert "changed=1 " in done.stdout
    assert awx.state() == before

    # The examples of the guide, with answers that the surveys ask for: "stop" as a failure node, and a schedule.
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_awx.rst").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in guide.split(".. code-block:: yaml+jinja\n")[1:]]
    tasks = [line[3:] for lines in blocks for line in takewhile(lambda line: not line or line[0] == " ", lines)]
    done = play("\n".join(tasks), **with_awx)
    assert done.rc == 0, done.output
    schedule = awx.one("schedules")
    assert "FREQ=DAILY" in schedule["rrule"]
    node = awx.one("workflow_job_template_nodes", identifier="stop")
    for template, sent in (("stop", node), ("health", schedule)):
        survey = awx.surveys[templates[template]["id"]]["spec"]
        required = {question["variable"] for question in survey if question["required"]}
        assert required <= set(sent["extra_data"]) <= {question["variable"] for question in survey}


@needs_awx
def test_a_new_organization_gets_a_galaxy_credential_and_an_old_one_is_left_alone(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    awx = fake.awx
    given: dict[str, Any] = {"awx_resources_organization": "New"}
    assert set_up(check=True, **given).rc == 0
    assert awx.writes == []
    assert set_up(**given).rc == 0
    new = awx.one("organizations", name="New")["id"]
    galaxy = awx.one("credentials", name="Ansible Galaxy")["id"]
    assert awx.links["organizations", new, "galaxy_credentials"] == [galaxy]
    assert ("organizations", 1, "galaxy_credentials") not in awx.links
    # Little was given, so little was created, and no credential is attached that does not exist.
    created = {template["name"] for template in awx.objects["job_templates"].values()}
    assert created == {f"Helix ETL: {name}" for name in ALWAYS}
    assert awx.objects["workflow_job_templates"] == {}
    assert not any(others for (kind, _id, _how), others in awx.links.items() if kind == "job_templates")

    given |= {"awx_resources_secure_logging": False, "awx_resources_update_secrets": True}
    assert set_up(awx_resources_credential_inputs={**KEYS, "validate_certs": ""}, **given).rc == 0
    credential = awx.one("credentials", name="BMC Helix")
    assert credential["inputs"]["validate_certs"] == "true"
    attached = [others for (kind, _id, _how), others in awx.links.items() if kind == "job_templates"]
    assert attached == [[credential["id"]]] * len(ALWAYS)


@pytest.mark.smoke
@needs_awx
def test_a_check_run_on_an_empty_controller_reports_what_would_be_created(
    set_up: Playbook, fake: FakeAwxServer
) -> None:
    fake.awx.create("job_templates", {"name": "My deployment", "organization": 1})
    done = set_up(check=True, **VARIABLES)
    assert done.rc == 0, done.output
    assert "check mode cannot check" in done.output
    assert fake.awx.writes == []


def test_a_project_of_this_repository_brings_the_collection(environment: dict[str, str], tmp_path: Path) -> None:
    """AWX calls ansible-galaxy in the folder of the project. Nothing may come from elsewhere."""
    project, target = tmp_path / "project", tmp_path / "requirements_collections"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in listed.stdout.splitlines():
        if name.partition("/")[0] in ("collections", "meta", "playbooks", "plugins", "roles") or "/" not in name:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes((ROOT / name).read_bytes())
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    done = subprocess.run(
        [galaxy, "collection", "install", "-r", "collections/requirements.yml", "--force"],
        cwd=project,
        env={**environment, "ANSIBLE_COLLECTIONS_PATH": str(target), "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
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
