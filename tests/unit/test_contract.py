# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said in several places is the same everywhere, and the layers of the library hold."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import VERSION
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._options import CONNECTION
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import ACTIONS
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.model import Behaviour, Model
from ansible_collections.capacityops.bmc_helix.tests.unit.plugins.module_utils.support import (
    FakeClock,
    Task,
    handed_over,
)

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "ansible_collections.capacityops.bmc_helix"
LIBRARY = f"{NAMESPACE}.plugins.module_utils"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
UTILS = sorted(path.stem for path in (ROOT / "plugins" / "module_utils").glob("*.py"))


# -- options ----------------------------------------------------------------------------------------------------------


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
    keywords = handed_over(name)
    assert keywords["supports_check_mode"] is True
    spec, docs = keywords["argument_spec"], documented("modules", name)
    assert set(spec) == set(docs)
    for option, facts in spec.items():
        told = docs[option]
        for key in ("type", "elements", "default", "required", "choices"):
            otherwise = {"type": "str", "required": False}.get(key)
            assert told.get(key, otherwise) == facts.get(key, otherwise), f"{option}: {key}"
        assert told["description"], option
    for option, facts in CONNECTION.items():
        told = spec[option]
        assert (told["type"], told["default"], told["no_log"]) == (facts.type, facts.default, facts.secret)
        assert told["fallback"][1] == [facts.env]


def test_the_connection_is_documented_as_in_the_table() -> None:
    """In the fragment of the modules, in that of the lookup, and in the README."""
    described = fragment("capacityops.bmc_helix._connection")["options"]
    sources = fragment("capacityops.bmc_helix._connection.plugin")["options"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {name: words for name, *words in re.findall(r"^\| `(\w+)` \| `(HELIX_\w+)` \| (.+) \|$", readme, re.M)}
    assert list(rows) == list(CONNECTION)
    assert set(described) == set(sources) == set(CONNECTION)
    assert set(CONNECTION) <= set(documented("lookup", "jwt_token"))
    for option, facts in CONNECTION.items():
        assert facts.env == f"HELIX_{option.upper()}"
        assert set(re.findall(r"E\((HELIX_\w+)\)", str(described[option]["description"]))) == {facts.env}, option
        assert sources[option] == {
            **({"type": "raw"} if facts.type == "bool" else {}),
            "env": [{"name": facts.env}],
            "ini": [{"section": "bmc_helix", "key": option}],
            "vars": [{"name": f"helix_{option}"}],
        }
        env, said = rows[option]
        assert env == facts.env
        if facts.default is not None:
            default = str(facts.default).lower() if facts.type == "bool" else f"{facts.default:g}"
            assert f"(default {default})" in said, option


def role_options(role: str) -> dict[str, dict[str, Any]]:
    specs = read_yaml(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    options: dict[str, dict[str, Any]] = specs["main"]["options"]
    return options


@pytest.mark.parametrize("role", ["etl_chain", "etl_maintenance"])
def test_the_connection_of_a_role_is_that_of_the_table(role: str) -> None:
    told = role_options(role)[f"{role}_connection"]["options"]
    assert {name: facts["type"] for name, facts in told.items()} == {
        name: facts.type for name, facts in CONNECTION.items()
    }


def test_roles_accept_vaulted_values() -> None:
    """Up to ansible-core 2.18, the validation of a role fails on an inline !vault value of an option with no_log."""
    specs = [path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    assert len(specs) == 4
    assert not [text for text in specs if "no_log:" in text]


def own_options(name: str) -> dict[str, dict[str, Any]]:
    """What a module takes beside the connection, without what only an action plugin sets."""
    spec = handed_over(name)["argument_spec"]
    return {option: facts for option, facts in spec.items() if option not in CONNECTION and option[0] != "_"}


#: A step of a chain names its ETLs, and the chain itself decides what follows a failure.
NOT_IN_STEPS = {
    *("name_pattern", "exclude", "last_result", "allow_empty", "confirm_all"),
    *("total_timeout", "stop_launching_on_failure", "details", "request_notes"),
}


@pytest.mark.parametrize("variable", ["etl_chain_steps", "etl_chain_defaults"])
def test_a_step_takes_the_options_of_the_module(variable: str) -> None:
    told = role_options("etl_chain")[variable]["options"]
    module = own_options("etl_action")
    own = {"name", "when", "on_failure"} if variable == "etl_chain_steps" else set()
    # Which ETLs, and what is done with them, is said for each step; a kill_after for all would suit few of them.
    without = NOT_IN_STEPS if own else NOT_IN_STEPS | {"action", "etl_id", "etl_name", "kill_after"}
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
    without = NOT_IN_STEPS - {"details"} if "chain" in path else set()
    assert set(arguments) == set(own_options("etl_action")) - without


# -- results ----------------------------------------------------------------------------------------------------------


def returned(name: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{NAMESPACE}.plugins.modules.{name}").RETURN)
    return data


def test_entries_hold_what_is_documented() -> None:
    docs = returned("etl_action")
    keys = docs["etls"]["contains"]
    always = {key for key, facts in keys.items() if facts["returned"].startswith(("always", "if it"))}
    outcomes = set(re.findall(r"V\((\w+)\)", str(keys["outcome"]["description"])))
    for behaviour in (Behaviour(), Behaviour(starts=False), Behaviour(initial="RUNNING"), Behaviour(kind="service")):
        for action in ACTIONS:
            clock = FakeClock()
            entry = Task(Model(clock, {321: behaviour}).handle, clock).act(action=action)["etl"]
            assert always - {"error"} <= set(entry) <= set(keys)
            assert entry["outcome"] in outcomes
            if entry["failed"]:
                assert set(entry["error"]) == set(docs["error"]["contains"])
    clock = FakeClock()
    model = Model(clock, {1: Behaviour(), 2: Behaviour()}, reads=(None, "403"))
    entries = Task(model.handle, clock).inform(max_parallel=1)["etls"]
    assert {key for entry in entries for key in entry} == set(returned("etl_info")["etls"]["contains"])


# -- metadata ---------------------------------------------------------------------------------------------------------


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_action_group_and_the_integration_targets_have_every_module_and_there_is_one_version() -> None:
    assert read_yaml("meta/runtime.yml")["action_groups"]["helix"] == MODULES
    targets = {path.parent.name for path in ROOT.glob("tests/integration/targets/*/aliases")}
    assert targets == {*MODULES, "lookup_jwt_token", "setup_simulator"}
    assert read_yaml("galaxy.yml")["version"] == VERSION


# -- layers -----------------------------------------------------------------------------------------------------------

#: Files, lines of code (documentation, comments and blank lines apart) and import layers may not grow beyond this.
MOST_FILES, MOST_LINES, MOST_LINES_OF_ONE, MOST_LAYERS = 14, 2900, 550, 7
#: Decisions and words: nothing here may read, write, wait or draw lots.
PURE = ("_errors", "_plan", "_report", "_status")
IMPURE = {
    *("os", "io", "sys", "socket", "ssl", "time"),
    *("random", "threading", "subprocess", "pathlib", "requests", "http"),
}
#: Only these may know the libraries outside of Python.
OUTSIDE = {"_http": {"requests", "urllib3"}, "_options": {"ansible"}, "_module": {"ansible"}}
#: What Ansible documents a plugin with.
PARTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")


def tree(folder: str, name: str) -> ast.Module:
    return ast.parse((ROOT / "plugins" / folder / f"{name}.py").read_text(encoding="utf-8"))


def imports(parsed: ast.Module) -> set[str]:
    """Names of the modules that are imported anywhere in a file."""
    found: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join(filter(None, [LIBRARY, module.replace("module_utils.", "")]))
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == LIBRARY else {module}
    return found


def arrows() -> dict[str, set[str]]:
    """Which file of the library imports which others, those for type checkers only left out."""
    found = {}
    for name in UTILS:
        parsed = tree("module_utils", name)
        for node in list(parsed.body):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                parsed.body.remove(node)
        found[name] = {other[len(LIBRARY) + 1 :] for other in imports(parsed) if other.startswith(LIBRARY)}
    return found


def test_the_imports_go_one_way_in_few_layers() -> None:
    sorter, layers = TopologicalSorter(arrows()), 0
    sorter.prepare()  # fails at a cycle
    while sorter.is_active():
        sorter.done(*sorter.get_ready())
        layers += 1
    assert layers <= MOST_LAYERS


def lines_of_code(path: Path) -> int:
    """Lines with code: neither blank, nor comments, nor documentation."""
    text = path.read_text(encoding="utf-8")
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in PARTS):
            documentation |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documentation)


def test_the_library_stays_small() -> None:
    sizes = {path: lines_of_code(path) for path in (ROOT / "plugins").rglob("*.py")}
    assert max(sizes.values()) <= MOST_LINES_OF_ONE, sizes
    library = [size for path, size in sizes.items() if path.parent.name == "module_utils"]
    assert len(library) <= MOST_FILES
    assert sum(library) <= MOST_LINES, sizes


@pytest.mark.parametrize("name", UTILS)
def test_who_knows_and_does_what(name: str) -> None:
    parsed = tree("module_utils", name)
    whole = imports(parsed)
    found = {module.partition(".")[0] for module in whole}
    assert found & {"ansible", "requests", "urllib3", "certifi", "yaml"} <= OUTSIDE.get(name, set())
    assert not (name in PURE and found & IMPURE)
    assert ("ansible.module_utils.basic" in whole) == (name == "_module")
    for called in [ast.unparse(node.func) for node in ast.walk(parsed) if isinstance(node, ast.Call)]:
        assert called not in ("print", "exit", "quit", "sys.exit", "os._exit", "input")
        assert called != "time.sleep" or name == "_http"
        assert name == "_module" or not called.endswith((".fail_json", ".exit_json"))


@pytest.mark.parametrize("name", MODULES)
def test_only_main_meets_ansible(name: str) -> None:
    parsed = tree("modules", name)
    assert not [module for module in imports(parsed) if module.startswith(("ansible.", "requests", "urllib3"))]
    for node in parsed.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name != "main":
            assert not {"HelixModule", "serve", "Clock"} & {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


# -- what is said of failures -----------------------------------------------------------------------------------------


def words(node: ast.AST) -> set[str]:
    """The texts that an expression may become, as far as they are written there."""
    if isinstance(node, ast.IfExp):
        return words(node.body) | words(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def kinds() -> set[str]:
    """The closed list of C(error.kind), as the library and the plugins raise them."""
    found: set[str] = set()
    tables: list[Any] = []
    for path in [*ROOT.glob("plugins/module_utils/*.py"), *ROOT.glob("plugins/plugin_utils/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= {word for key in node.keywords if key.arg == "kind" for word in words(key.value)}
                if path.stem == "_report" and ast.unparse(node.func) == "_problem":
                    found |= words(node.args[0])
            elif isinstance(node, ast.Assign) and path.stem == "_errors" and ast.unparse(node.targets[0]) == "kind":
                found |= words(node.value)
            elif isinstance(node, ast.AnnAssign) and path.stem in ("_http", "_api", "_token"):
                # Whether a row applies, kind, words, remedy
                tables += [node.value] if ast.unparse(node.target) == "rules" else []
    assert len(tables) == 3
    # The root's word is never used: whoever raises the root says which kind it is.
    return found.union(*(words(rule.elts[1]) for table in tables for rule in table.elts)) - {"error"}


def test_every_kind_of_failure_is_explained_in_the_guide_and_listed_in_the_module() -> None:
    known = kinds()
    text = (ROOT / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst").read_text(encoding="utf-8")
    table = re.search(r"^All kinds\n-+\n(.*?)^\w[^\n]*\n---", text, re.MULTILINE | re.DOTALL)
    assert table
    listed = re.findall(r"``(\w+)``", "".join(re.findall(r"^   \* - (.*)$", table[1], re.MULTILINE)))
    assert sorted(listed) == sorted(known)
    messages = text[table.end() :]
    assert [kind for kind in sorted(known) if f"*{kind}" not in messages and f"{kind}*" not in messages] == []
    described = returned("etl_action")["error"]["contains"]["kind"]["description"]
    assert set(re.findall(r"V\((\w+)\)", str(described))) == known
