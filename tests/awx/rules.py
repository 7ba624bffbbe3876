# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX 24.6.1 accepts, as seen on a real one and in its source. Each check returns a list of complaints.

Stricter than AWX in one point: `required` of a credential type must name existing fields (AWX takes any word).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

IDENTIFIER = re.compile(r"[a-zA-Z_]+[a-zA-Z0-9_]*")
FIELD_KEYS = {
    *("id", "label", "type", "format", "choices", "multiline", "secret", "ask_at_runtime", "help_text", "default"),
}
ONLY_STRING = ("format", "choices", "multiline", "secret")
REFUSED_ENV = {
    *("VIRTUAL_ENV", "PATH", "PYTHONPATH", "JOB_ID", "INVENTORY_ID", "INVENTORY_SOURCE_ID", "INVENTORY_UPDATE_ID"),
    *("AD_HOC_COMMAND_ID", "REST_API_URL", "REST_API_TOKEN", "MAX_EVENT_RES", "CALLBACK_QUEUE", "CALLBACK_CONNECTION"),
    *("CACHE", "JOB_CALLBACK_DEBUG", "INVENTORY_HOSTVARS", "AWX_HOST", "PROJECT_REVISION", "SUPERVISOR_CONFIG_PATH"),
}
QUESTION_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
QUESTION_KEYS = {
    *("type", "question_name", "question_description", "variable", "required", "default", "min", "max", "choices"),
    "new_question",
}
PROMPTS = (
    *("inventory", "credential", "job_type", "limit", "diff_mode", "verbosity", "scm_branch", "forks", "timeout"),
    *("job_slice_count", "execution_environment", "instance_groups", "labels", "tags", "skip_tags", "variables"),
)


# ---- credential types


def credential_type(kind: object, inputs: Mapping[str, Any], injectors: Mapping[str, Any]) -> list[str]:
    found = [] if kind in ("cloud", "net") else [f"Must be 'cloud' or 'net', not {kind}"]
    found += [f"inputs: {key} is not allowed" for key in inputs if key not in ("fields", "required")]
    fields = inputs.get("fields", [])
    ids = [field.get("id") for field in fields]
    found += [f"id {name} twice" for name in {name for name in ids if ids.count(name) > 1}]
    found += [f"required: {name} is not a field" for name in inputs.get("required", []) if name not in ids]
    for field in fields:
        found += [f"field {field.get('id')}: {complaint}" for complaint in _field(field)]
    return [*found, *_injectors(injectors, [str(name) for name in ids])]


def _field(field: Mapping[str, Any]) -> Iterable[str]:
    kind = field.get("type", "string")
    yield from (f"{key} is not allowed" for key in field if key not in FIELD_KEYS)
    yield from (f"{key} is missing" for key in ("id", "label") if not isinstance(field.get(key), str))
    if not IDENTIFIER.fullmatch(str(field.get("id"))) or field.get("id") == "tower":
        yield "id is not allowed"
    if kind not in ("string", "boolean"):
        yield f"type {kind} is not allowed"
    if kind == "boolean":
        yield from (f"{key} not allowed for boolean type" for key in ONLY_STRING if key in field)
    if field.get("format", "url") not in ("url", "ssh_private_key"):
        yield "format is not allowed"
    choices = field.get("choices", ["x"])
    if not choices or len(set(choices)) < len(choices) or not all(isinstance(choice, str) for choice in choices):
        yield "choices must be unique strings"
    if "default" in field and not isinstance(field["default"], bool if kind == "boolean" else str):
        yield "default is not of the field's type"
    yield from (
        f"{key} is not a boolean"
        for key in ("multiline", "secret", "ask_at_runtime")
        if not isinstance(field.get(key, True), bool)
    )


def _injectors(injectors: Mapping[str, Any], ids: list[str]) -> Iterable[str]:
    yield from (f"injectors: {key} is not allowed" for key in injectors if key not in ("file", "env", "extra_vars"))
    files = injectors.get("file", {})
    if "template" in files and len(files) > 1:
        yield "file: either template or named templates"
    yield from (f"file: {key} is not allowed" for key in files if not re.fullmatch(r"template(\.\w+)?", key))
    names = {key.partition(".")[2] for key in files}
    known = {"tower": {"filename": "x" if names == {""} else dict.fromkeys(names, "x")}}
    values: list[tuple[str, Any]] = [(f"file {key}", value) for key, value in files.items()]
    for name, value in injectors.get("env", {}).items():
        if not IDENTIFIER.fullmatch(name) or name.startswith("ANSIBLE_") or name in REFUSED_ENV:
            yield f"env: {name} is not allowed"
        values.append((f"env {name}", value))
    for place, value in values:
        if not isinstance(value, str):
            yield f"{place}: not a string"
        elif not value.isascii():
            yield f"{place}: not ASCII"
        else:
            yield from (f"{place}: {complaint}" for complaint in _template(value, ids, known))


def _template(text: str, ids: list[str], known: Mapping[str, Any]) -> Iterable[str]:
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    try:
        wanted = jinja2.meta.find_undeclared_variables(environment.parse(text))
        environment.from_string(text).render(**known, **dict.fromkeys(ids, "EXAMPLE"))
    except jinja2.TemplateError as error:
        yield str(error)
        return
    yield from (f"{name} is undefined" for name in wanted if name not in {*ids, "tower"})


def rendered(template: str, inputs: Mapping[str, Any], ids: Iterable[str], files: Mapping[str, str]) -> str:
    """What a job gets: a field that was left out renders as an empty text."""
    values = {name: inputs.get(name, "") for name in ids}
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(**values, tower={"filename": dict(files)})


# ---- surveys


def survey(spec: Mapping[str, Any]) -> list[str]:
    found = [f"{key} is missing" for key in ("name", "description", "spec") if key not in spec]
    found += [f"{key} is not a string" for key in ("name", "description") if not isinstance(spec.get(key), str)]
    questions = spec.get("spec") or []
    if not isinstance(questions, list) or not questions:
        return [*found, "spec must be a list of questions"]
    variables = [question.get("variable") for question in questions]
    found += [f"variable {name} twice" for name in {name for name in variables if variables.count(name) > 1}]
    for question in questions:
        found += [f"{question.get('variable')}: {complaint}" for complaint in _question(question)]
    return found


def _question(question: Mapping[str, Any]) -> Iterable[str]:
    kind = question.get("type")
    wanted = ("type", "question_name", "variable", "required")
    yield from (f"{key} is missing" for key in wanted if key not in question)
    yield from (f"{key} is not known" for key in question if key not in QUESTION_KEYS)
    if kind not in QUESTION_TYPES:
        yield f"type {kind} is not allowed"
    if not isinstance(question.get("required"), bool):
        yield "required is not a boolean"
    for key in ("min", "max"):
        if question.get(key) is not None and (isinstance(question[key], bool) or not isinstance(question[key], int)):
            yield f"{key} is not an integer"
    choices = question.get("choices")
    if isinstance(choices, str):
        choices = choices.splitlines()
    if kind in ("multiplechoice", "multiselect") and not choices:
        yield "choices are missing"
    yield from _default(question, str(kind), choices)


def _default(question: Mapping[str, Any], kind: str, choices: Any) -> Iterable[str]:
    default = question.get("default")
    if default in (None, ""):
        return
    types = {"integer": (int,), "float": (int, float)}.get(kind, (str,))
    if not isinstance(default, types) or isinstance(default, bool):
        yield "default is not of the question's type"
    elif kind == "multiplechoice" and default not in choices:
        yield "default is not among the choices"
    else:
        size = default if kind in ("integer", "float") else len(default)
        low, high = question.get("min"), question.get("max")
        if kind in ("integer", "float", "text", "textarea", "password") and (
            (low is not None and size < low) or (high is not None and size > high)
        ):
            yield "default is out of range"


# ---- workflow nodes


def node_prompts(node: Mapping[str, Any], template: Mapping[str, Any]) -> list[str]:
    """A prompt in a node is refused unless its template asks for it."""
    return [
        f"Field is not configured to prompt on launch: {name}"
        for name in PROMPTS
        if node.get(name) not in (None, "", {}) and not template.get(f"ask_{name}_on_launch")
    ] + (
        ["Variables are not allowed on launch"]
        if node.get("extra_data") and not (template.get("ask_variables_on_launch") or template.get("survey_enabled"))
        else []
    )
