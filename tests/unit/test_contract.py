# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said in several places is the same everywhere, and the layers of the library hold."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import ACTIONS, IF_RUNNING, ON_TIMEOUT, UNTIL
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._transport import VERSION
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import Behaviour, Model
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import ACT, WAIT, FakeClock, Task

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "ansible_collections.capacityops.bmc_helix"
LIBRARY = f"{NAMESPACE}.plugins.module_utils"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
UTILS = sorted(path.stem for path in (ROOT / "plugins" / "module_utils").glob("*.py"))
#: Options that say how to reach the server; every module has them.
CONNECTED = [
    path.stem
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py"))
    if "connection_argument_spec" in path.read_text(encoding="utf-8")
]


# -- options ----------------------------------------------------------------------------------------------------------


class Captured(Exception):  # noqa: N818 - no error, a way out of main()
    """Carries what a module hands to HelixModule."""

    def __init__(self, keywords: dict[str, Any]) -> None:
        super().__init__()
        self.keywords = keywords


def handed_over(name: str) -> dict[str, Any]:
    module = importlib.import_module(f"{NAMESPACE}.plugins.modules.{name}")

    def capture(**keywords: Any) -> None:
        raise Captured(keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HelixModule", capture)
        with pytest.raises(Captured) as caught:
            module.main()
    return caught.value.keywords


def fragment(name: str) -> dict[str, Any]:
    file, _dot, part = name[len("capacityops.bmc_helix.") :].partition(".")
    module = importlib.import_module(f"{NAMESPACE}.plugins.doc_fragments.{file}")
    data: dict[str, Any] = yaml.safe_load(getattr(module.ModuleDocFragment, (part or "documentation").upper()))
    return data


def documented(folder: str, name: str) -> dict[str, dict[str, Any]]:
    """The options of a module or plugin, with those of its fragments."""
    module = importlib.import_module(f"{NAMESPACE}.plugins.{folder}.{name}")
    docs = yaml.safe_load(module.DOCUMENTATION)
    options: dict[str, dict[str, Any]] = {}
    for source in [*map(fragment, docs.get("extends_documentation_fragment", [])), docs]:
        for option, facts in (source.get("options") or {}).items():
            options[option] = {**options.get(option, {}), **facts}
    return options


@pytest.mark.parametrize("name", MODULES)
def test_options_are_documented_as_they_are(name: str) -> None:
    spec = handed_over(name)["argument_spec"]
    docs = documented("modules", name)
    assert set(spec) == set(docs)
    for option, facts in spec.items():
        told = docs[option]
        for key, otherwise in (("type", "str"), ("default", None), ("elements", None), ("required", False)):
            assert told.get(key, otherwise) == facts.get(key, otherwise), f"{option}: {key}"
        assert told.get("choices") == facts.get("choices"), option
        assert told["description"], option


@pytest.mark.parametrize("name", MODULES)
def test_connection_options_are_those_of_the_table(name: str) -> None:
    spec = handed_over(name)["argument_spec"]
    for option, facts in CONNECTION.items():
        assert spec[option]["type"] == facts.type
        assert spec[option].get("default") == facts.default
        assert spec[option]["no_log"] is facts.secret
        assert spec[option]["fallback"][1] == [facts.env]


def test_the_fragment_names_the_variables_of_the_table() -> None:
    options = fragment("capacityops.bmc_helix._connection")["options"]
    assert set(options) == set(CONNECTION)
    for option, facts in CONNECTION.items():
        said = " ".join(options[option]["description"])
        assert f"E({facts.env})" in said, option
        assert facts.env == f"HELIX_{option.upper()}"
        others = set(re.findall(r"E\((HELIX_\w+)\)", said)) - {facts.env}
        assert not others, option


def test_the_lookup_reads_the_same_variables() -> None:
    options = fragment("capacityops.bmc_helix._connection.plugin")["options"]
    assert set(options) == set(CONNECTION)
    for option, facts in CONNECTION.items():
        assert [item["name"] for item in options[option]["env"]] == [facts.env]
        assert [(item["section"], item["key"]) for item in options[option].get("ini", [])] in (
            [("bmc_helix", option)],
            [],
        )
        assert [item["name"] for item in options[option]["vars"]] == [f"helix_{option}"]
    assert set(CONNECTION) <= set(documented("lookup", "jwt_token"))


def test_the_readme_has_the_variables_of_the_table() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {
        option: (env, said) for option, env, said in re.findall(r"^\| `(\w+)` \| `(HELIX_\w+)` \| (.+) \|$", text, re.M)
    }
    assert list(rows) == list(CONNECTION)
    for option, facts in CONNECTION.items():
        env, said = rows[option]
        assert env == facts.env
        if facts.default is not None:
            default = str(facts.default).lower() if facts.type == "bool" else f"{facts.default:g}"
            assert re.search(rf"\(default {default}\)", said), option


def role_options(role: str) -> dict[str, dict[str, Any]]:
    specs = read_yaml(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    options: dict[str, dict[str, Any]] = specs["main"]["options"]
    return options


@pytest.mark.parametrize("role", ["etl_chain", "etl_maintenance"])
def test_the_connection_of_a_role_is_that_of_the_table(role: str) -> None:
    told = role_options(role)[f"{role}_connection"]["options"]
    assert {name: option["type"] for name, option in told.items()} == {
        name: option.type for name, option in CONNECTION.items()
    }


@pytest.mark.parametrize("role", ["awx_resources", "etl_chain", "etl_maintenance"])
def test_roles_accept_vaulted_values(role: str) -> None:
    """Up to ansible-core 2.18, the validation of a role fails on an inline !vault value of an option with no_log."""
    assert "no_log:" not in (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")


def own_options(name: str) -> dict[str, dict[str, Any]]:
    """What a module takes beside the connection, without what only an action plugin sets."""
    spec = handed_over(name)["argument_spec"]
    return {option: facts for option, facts in spec.items() if option not in CONNECTION and option[0] != "_"}


@pytest.mark.parametrize("variable", ["etl_chain_steps", "etl_chain_defaults"])
def test_a_step_takes_the_options_of_the_module(variable: str) -> None:
    told = role_options("etl_chain")[variable]["options"]
    module = own_options("etl_action")
    own = {"name", "when", "on_failure"} if variable == "etl_chain_steps" else set()
    # Which ETLs, and what is done with them, is said for each step; a kill_after for all would suit few of them.
    without = set() if own else {"action", "etl_id", "etl_name", "kill_after"}
    assert set(told) == (set(module) - without) | own
    for option in set(told) - own:
        for key in ("type", "choices", "elements"):
            assert told[option].get(key) == module[option].get(key), f"{option}: {key}"


@pytest.mark.parametrize("path", ["playbooks/etl_action.yml", "roles/etl_chain/tasks/step.yml"])
def test_every_option_of_the_module_is_handed_on(path: str) -> None:
    found: list[dict[str, Any]] = []

    def search(node: Any) -> None:
        for item in node if isinstance(node, list) else node.values() if isinstance(node, dict) else []:
            search(item)
        if isinstance(node, dict) and "capacityops.bmc_helix.etl_action" in node:
            found.append(node["capacityops.bmc_helix.etl_action"])

    search(read_yaml(path))
    (arguments,) = found
    assert set(arguments) == set(own_options("etl_action"))


def test_choices_are_those_of_the_engine() -> None:
    spec = handed_over("etl_action")["argument_spec"]
    assert tuple(spec["action"]["choices"]) == ACTIONS
    assert tuple(spec["if_running"]["choices"]) == IF_RUNNING
    assert tuple(spec["on_timeout"]["choices"]) == ON_TIMEOUT
    assert tuple(handed_over("etl_wait")["argument_spec"]["until"]["choices"]) == UNTIL


@pytest.mark.parametrize(("name", "options"), [("etl_action", ACT), ("etl_wait", WAIT)])
def test_the_unit_tests_use_the_modules_defaults(name: str, options: dict[str, Any]) -> None:
    spec = handed_over(name)["argument_spec"]
    for option, value in options.items():
        if option not in ("action", "etl_id"):
            assert spec[option].get("default") == value, option


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_is_supported(name: str) -> None:
    assert handed_over(name)["supports_check_mode"] is True


# -- results ----------------------------------------------------------------------------------------------------------


def returned(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{NAMESPACE}.plugins.modules.{name}").RETURN)
    return data


def test_entries_hold_what_is_documented() -> None:
    docs = returned("etl_action")
    keys = docs["etls"]["contains"]
    always = {key for key, facts in keys.items() if facts["returned"].startswith(("always", "if it"))}
    words = set(re.findall(r"V\((\w+)\)", str(keys["outcome"]["description"])))
    for behaviour in (Behaviour(), Behaviour(starts=False), Behaviour(initial="RUNNING"), Behaviour(kind="service")):
        for action in ("run", "schedule", "stop", "kill"):
            clock = FakeClock()
            entry = Task(Model(clock, {321: behaviour}).handle, clock).act(action=action)["etl"]
            assert set(entry) <= set(keys)
            assert always - {"error"} <= set(entry)
            assert entry["outcome"] in words
            if entry["failed"]:
                assert set(entry["error"]) == set(docs["error"]["contains"])


def test_info_entries_hold_what_is_documented() -> None:
    clock = FakeClock()
    model = Model(clock, {1: Behaviour(), 2: Behaviour()}, reads=(None, "403"))
    entries = Task(model.handle, clock).inform(max_parallel=1)["etls"]
    assert {key for entry in entries for key in entry} == set(returned("etl_info")["etls"]["contains"])


# -- metadata ---------------------------------------------------------------------------------------------------------


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_action_group_has_every_module() -> None:
    assert read_yaml("meta/runtime.yml")["action_groups"]["helix"] == CONNECTED
    assert CONNECTED == MODULES


def test_one_version() -> None:
    assert read_yaml("galaxy.yml")["version"] == VERSION


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_test_that_runs_it(name: str) -> None:
    folders = [ROOT / "tests" / "functional", ROOT / "tests" / "integration" / "targets"]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".yml")]
    if not files:
        pytest.skip("this copy of the collection has unit tests only")
    assert any(name in path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("path", [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "tests" / "unit").rglob("*.py")], ids=str)
def test_every_file_names_its_licence(path: Path) -> None:
    tag = "SPDX-License-Identifier"
    head = path.read_text(encoding="utf-8").removeprefix("#!/usr/bin/python\n").splitlines()[:3]
    assert head == [
        "# Copyright (c) 2026, CapacityOps",
        "# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
        # In two parts, or tools would take it for the licence of this file.
        f"# {tag}: GPL-3.0-or-later",
    ]


# -- layers -----------------------------------------------------------------------------------------------------------

#: Which file of the library may know which others. Arrows go one way, from the last line up to the first.
LAYERS: dict[str, set[str]] = {
    "_errors": set(),
    "_clock": set(),
    "_redaction": set(),
    "_wire": set(),
    "_options": {"_errors"},
    "_tls": {"_errors"},
    "_failures": {"_errors", "_tls", "_wire"},
    "_transport": {"_clock", "_errors", "_failures", "_redaction", "_tls", "_wire"},
    "_token": {"_clock", "_errors", "_transport"},
    "_status": {"_clock"},
    "_plan": {"_clock", "_errors", "_status"},
    "_progress": {"_status"},
    "_report": {"_errors", "_plan", "_progress"},
    "_slices": {"_clock", "_errors", "_progress"},
    "_api": {"_errors", "_status", "_token", "_transport"},
    "_watching": {"_api", "_clock", "_errors", "_plan", "_progress", "_status", "_transport"},
    "_sending": {"_api", "_clock", "_errors", "_plan", "_progress", "_status", "_transport", "_watching"},
    "_execution": {"_api", "_errors", "_plan", "_progress", "_report", "_sending", "_status", "_watching"},
    "_batch": {"_api", "_clock", "_errors", "_execution", "_plan", "_progress"},
    "_select": {"_api", "_errors", "_options"},
    "_client": {"_api", "_clock", "_errors", "_options", "_redaction", "_token", "_transport"},
    "_operations": {
        "_api",
        "_batch",
        "_client",
        "_clock",
        "_errors",
        "_options",
        "_plan",
        "_progress",
        "_redaction",
        "_report",
        "_select",
        "_slices",
        "_status",
    },
    "_module": {"_errors", "_redaction", "_slices"},
}
#: Decisions and words: nothing here may read, write, wait or draw lots.
PURE = ("_errors", "_plan", "_progress", "_report", "_select", "_status")
IMPURE = {
    "os",
    "io",
    "sys",
    "socket",
    "ssl",
    "time",
    "random",
    "threading",
    "subprocess",
    "pathlib",
    "requests",
    "http",
}
#: Only these may know the libraries outside of Python.
OUTSIDE = {
    "_wire": {"requests", "urllib3"},
    "_tls": {"certifi"},
    "_options": {"ansible"},
    "_module": {"ansible"},
}


def tree(folder: str, name: str) -> ast.Module:
    return ast.parse((ROOT / "plugins" / folder / f"{name}.py").read_text(encoding="utf-8"))


def imports(parsed: ast.Module) -> set[str]:
    """Names of the modules that are imported anywhere in a file."""
    found: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports confuse what Ansible packs"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == LIBRARY else {module}
    return found


def library(found: set[str]) -> set[str]:
    return {name[len(LIBRARY) + 1 :] for name in found if name.startswith(LIBRARY)}


def test_the_table_has_every_file() -> None:
    assert sorted(LAYERS) == UTILS
    order = list(LAYERS)
    for name, known in LAYERS.items():
        assert all(order.index(other) < order.index(name) for other in known), name


@pytest.mark.parametrize("name", UTILS)
def test_the_layers_hold(name: str) -> None:
    found = imports(tree("module_utils", name))
    assert library(found) <= LAYERS[name]
    outside = {module.partition(".")[0] for module in found} & {"ansible", "requests", "urllib3", "certifi", "yaml"}
    assert outside <= OUTSIDE.get(name, set())
    if name in PURE:
        assert not {module.partition(".")[0] for module in found} & IMPURE


@pytest.mark.parametrize("name", UTILS)
def test_the_library_never_exits_prints_or_sleeps(name: str) -> None:
    for node in ast.walk(tree("module_utils", name)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "exit", "quit", "sys.exit", "os._exit", "input")
            assert called != "time.sleep" or name == "_clock"
            if name != "_module":
                assert not called.endswith((".fail_json", ".exit_json"))


def test_only_one_file_meets_ansible() -> None:
    meeting = [name for name in UTILS if "ansible.module_utils.basic" in imports(tree("module_utils", name))]
    assert meeting == ["_module"]


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_wiring(name: str) -> None:
    parsed = tree("modules", name)
    assert library(imports(parsed)) <= {"_clock", "_module", "_operations", "_options", "_slices"}
    assert [node.name for node in parsed.body if isinstance(node, ast.FunctionDef)] == ["main"]


@pytest.mark.parametrize(
    "role", sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
)
def test_the_readme_of_a_role_has_every_variable(role: str) -> None:
    folder = ROOT / "roles" / role
    text = (folder / "README.md").read_text(encoding="utf-8")
    spec = (folder / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options = yaml.safe_load(spec)["argument_specs"]["main"]["options"]
    told = set(re.findall(rf"^\| `({role}_\w+)` \|", text, re.MULTILINE))
    assert told == set(options)
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text(encoding="utf-8"))
    for name, option in options.items():
        assert option.get("default", defaults.get(name)) == defaults.get(name), name
        if isinstance(option.get("default"), (str, int)) and option["default"] not in ("", True, False):
            assert f"| `{name}` | `{option['default']}` |" in text, name


def test_everything_that_is_called_has_an_integration_target() -> None:
    targets = {path.parent.name for path in ROOT.glob("tests/integration/targets/*/aliases")}
    roles = {f"role_{path.name}" for path in (ROOT / "roles").iterdir()}
    lookups = {f"lookup_{path.stem}" for path in (ROOT / "plugins" / "lookup").glob("[a-z]*.py")}
    assert targets - {"setup_simulator"} == {*MODULES, *roles, *lookups}


# -- what is said of failures -----------------------------------------------------------------------------------------


def raised() -> list[tuple[ast.Call, dict[str, list[ast.expr]]]]:
    """Every call, in the library and in what plugins share, that makes one of our errors; and what the names in the
    function around it may stand for.
    """
    errors = {node.name for node in ast.walk(tree("module_utils", "_errors")) if isinstance(node, ast.ClassDef)}
    found = []
    for path in [*ROOT.glob("plugins/module_utils/*.py"), *ROOT.glob("plugins/plugin_utils/*.py")]:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            names: dict[str, list[ast.expr]] = {}
            for node in ast.walk(function):
                for target in node.targets if isinstance(node, ast.Assign) else []:
                    targets = target.elts if isinstance(target, ast.Tuple) else [target]
                    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(targets)
                    for one, value in zip(targets, values):
                        names.setdefault(ast.unparse(one), []).append(value)
            found += [
                (node, names)
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors
            ]
    return found


def words(node: ast.AST, names: dict[str, list[ast.expr]]) -> list[str]:
    """The texts that an expression may become, with a NUL where something is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in node.values)]
    if isinstance(node, ast.BinOp):
        return [left + right for left in words(node.left, names) for right in words(node.right, names)]
    if isinstance(node, ast.IfExp):
        return [*words(node.body, names), *words(node.orelse, names)]
    if isinstance(node, ast.Name) and node.id in names:
        return [word for value in names[node.id] for word in words(value, {})]
    return ["\0"]


def kinds() -> set[str]:
    found = {
        word
        for call, names in raised()
        for key in call.keywords
        if key.arg == "kind"
        for word in words(key.value, names)
    }
    for node in ast.walk(tree("module_utils", "_errors")):
        if isinstance(node, ast.ClassDef):
            found |= {
                item.value.value
                for item in node.body
                if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "kind"
                if isinstance(item.value, ast.Constant)
            }
    # The root's word is never used: whoever raises the root says which kind it is. NUL: handed on from another error.
    return found - {"error", "\0"}


def test_every_kind_of_failure_is_explained() -> None:
    text = (ROOT / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst").read_text(encoding="utf-8")
    table = re.search(r"^All kinds\n-+\n(.*?)^\w[^\n]*\n---", text, re.MULTILINE | re.DOTALL)
    assert table
    listed = re.findall(r"``(\w+)``", "".join(re.findall(r"^   \* - (.*)$", table[1], re.MULTILINE)))
    assert sorted(listed) == sorted(kinds())
    messages = text[table.end() :]
    assert [kind for kind in sorted(kinds()) if f"*{kind}" not in messages and f"{kind}*" not in messages] == []


def test_the_module_lists_every_kind_of_failure() -> None:
    module = importlib.import_module(f"{NAMESPACE}.plugins.modules.etl_action")
    returned = yaml.safe_load(module.RETURN)["error"]["contains"]["kind"]["description"]
    assert set(re.findall(r"V\((\w+)\)", " ".join(returned))) == kinds()


def test_every_message_is_in_the_guide() -> None:
    """Its fixed parts are; so whoever searches the page for a few words of a message finds it."""
    text = (ROOT / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst").read_text(encoding="utf-8")
    guide = re.sub(r"\s+", " ", text).lower()
    missing = set()
    for call, names in raised():
        for message in words(call.args[0], names) if call.args else []:
            parts = [part.strip(" .,:;()'") for part in message.split("\0")]
            missing |= {part for part in parts if len(part) > 12 and part.lower() not in guide}
    assert missing == set()
