# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX 24.6.1 accepts and passes to jobs, as seen on a real one and in its source. Checks return complaints.

Stricter than AWX in one point: `required` of a credential type must name existing fields (AWX takes any word).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2.meta
import jsonschema
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEXT: dict[str, Any] = {"type": "string"}
TRUTH: dict[str, Any] = {"type": "boolean"}
WHOLE: dict[str, Any] = {"type": ["integer", "null"]}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT}


def _closed(required: list[str], more: Mapping[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    properties.update(more or {})
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


FIELD = {
    **_closed(
        ["id", "label"],
        id={"pattern": "^[a-zA-Z_]+[a-zA-Z0-9_]*$", "not": {"const": "tower"}},
        label=TEXT,
        type={"enum": ["string", "boolean"]},
        format={"enum": ["ssh_private_key", "url"]},
        choices={**TEXTS, "minItems": 1, "uniqueItems": True},
        **dict.fromkeys(("multiline", "secret", "ask_at_runtime"), TRUTH),
        help_text=TEXT,
        default={},
    ),
    "if": {"properties": {"type": {"const": "boolean"}}, "required": ["type"]},
    "then": {"properties": {"default": TRUTH, **dict.fromkeys(("format", "choices", "multiline", "secret"), False)}},
    "else": {"properties": {"default": TEXT}},
}
INPUTS = _closed([], {"fields": {"type": "array", "items": FIELD}, "required": TEXTS})
ASCII = {"type": "string", "pattern": "^[\\x00-\\x7f]*$"}
INJECTORS = _closed(
    [],
    env={
        "propertyNames": {"pattern": "^[a-zA-Z_]+[a-zA-Z0-9_]*$"},
        "additionalProperties": ASCII,
    },
    # Either one file without a name, or files with names.
    file={
        "anyOf": [_closed([], template=ASCII), {"propertyNames": {"pattern": "^template\\.\\w+$"}}],
        "additionalProperties": ASCII,
    },
    extra_vars={"type": "object"},
)
#: Types of questions, and the types of their defaults.
KINDS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("text", "textarea", "password", "multiplechoice", "multiselect"), TEXT),
    "integer": {"type": "integer"},
    "float": {"type": "number"},
}
QUESTION = _closed(
    ["type", "question_name", "variable", "required"],
    dict.fromkeys(("required", "new_question"), TRUTH),
    type={"enum": list(KINDS)},
    **dict.fromkeys(("question_name", "question_description", "variable"), TEXT),
    **dict.fromkeys(("min", "max"), WHOLE),
    choices={"type": ["array", "string"]},
    default={},
)
SURVEY = _closed(
    ["name", "description", "spec"],
    name=TEXT,
    description=TEXT,
    spec={"type": "array", "minItems": 1, "items": QUESTION},
)
#: What a node may contain without a prompt of its template.
NODE = {"identifier", "unified_job_template", "workflow_job_template", "extra_data", "all_parents_must_converge"}


def _complaints(value: object, schema: Mapping[str, Any]) -> list[str]:
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(value)
    ]


def credential_type(kind: object, inputs: Mapping[str, Any], injectors: Mapping[str, Any]) -> list[str]:
    found = [] if kind in ("cloud", "net") else [f"Must be 'cloud' or 'net', not {kind}"]
    found += _complaints(inputs, INPUTS) + _complaints(injectors, INJECTORS)
    ids = [str(field.get("id")) for field in inputs.get("fields", [])]
    found += [f"id {name} twice" for name in {name for name in ids if ids.count(name) > 1}]
    found += [f"required: {name} is not a field" for name in inputs.get("required", []) if name not in ids]
    files = injectors.get("file", {})
    names = {key.partition(".")[2] for key in files}
    tower = {"filename": "x" if names == {""} else dict.fromkeys(names, "x")}
    for text in [*files.values(), *injectors.get("env", {}).values()]:
        found += _template(str(text), ids, tower)
    return found


def _template(text: str, ids: list[str], tower: Mapping[str, Any]) -> Iterable[str]:
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    try:
        wanted = jinja2.meta.find_undeclared_variables(environment.parse(text))
        environment.from_string(text).render(tower=tower, **dict.fromkeys(ids, "EXAMPLE"))
    except jinja2.TemplateError as error:
        return [str(error)]
    return [f"{name} is undefined" for name in wanted if name not in {*ids, "tower"}]


def rendered(template: str, inputs: Mapping[str, Any], ids: Iterable[str], files: Mapping[str, str]) -> str:
    """What a job gets: a field that was left out renders as an empty text."""
    values = {name: inputs.get(name, "") for name in ids}
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(**values, tower={"filename": dict(files)})


def survey(spec: Mapping[str, Any]) -> list[str]:
    found = _complaints(spec, SURVEY)
    questions = spec.get("spec") or []
    variables = [question.get("variable") for question in questions]
    found += [f"variable {name} twice" for name in {name for name in variables if variables.count(name) > 1}]
    for question in questions:
        if question.get("type") in ("multiplechoice", "multiselect") and not question.get("choices"):
            found.append("choices are missing")
        if question.get("default") not in (None, "") and question.get("type") in KINDS:
            found += _default(question["default"], question)
    return found


def _default(default: Any, question: Mapping[str, Any]) -> list[str]:
    wrong = _complaints(default, KINDS[question["type"]])
    if wrong:
        return wrong
    if question["type"] == "multiplechoice":
        return [] if default in question.get("choices", []) else ["default is not among the choices"]
    size = len(default) if isinstance(default, str) else default
    low, high = question.get("min"), question.get("max")
    outside = (low is not None and size < low) or (high is not None and size > high)
    return ["default is out of range"] if outside else []


def credential_inputs(inputs: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = [f"{name}: additional properties are not allowed" for name in inputs if name not in fields]
    for name, field in fields.items():
        wanted = {"type": field.get("type", "string"), **({"enum": field["choices"]} if "choices" in field else {})}
        found += _complaints(inputs[name], wanted) if name in inputs else []
    return found


def node_prompts(node: Mapping[str, Any], template: Mapping[str, Any]) -> list[str]:
    """A prompt in a node is refused unless its template asks for it."""
    found = [f"Field is not configured to prompt on launch: {name}" for name in set(node) - NODE]
    if node.get("extra_data") and not (template.get("ask_variables_on_launch") or template.get("survey_enabled")):
        found.append("Variables are not allowed on launch")
    return found


def extra_vars(answers: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """The file of extra variables: answers are unsafe texts, and what the template stores is not."""

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
    lines += [f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in stored.items() if key not in answers]
    return "".join(lines)
