# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX 24.6.1 accepts and passes to jobs, as seen on a real one and in its source. Checks return complaints.

AWX also accepts what the role does not use, such as other types of fields and questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import jsonschema
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment


def _closed(always: str, /, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": always.split(), "properties": properties}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": items}


TEXT: dict[str, Any] = {"type": "string"}
ASCII = {"type": "string", "pattern": "^[\\x00-\\x7f]*$"}
NAME = {"type": "string", "pattern": "^[a-zA-Z_]+[a-zA-Z0-9_]*$", "not": {"const": "tower"}}
TRUTH = {"type": "boolean"}
WHOLE = {"type": "integer"}
FIELD = _closed(
    "id label",
    id=NAME,
    type={"const": "string"},
    choices=_list(TEXT),
    **dict.fromkeys(("label", "help_text", "default"), TEXT),
    **dict.fromkeys(("multiline", "secret"), TRUTH),
)
CREDENTIAL_TYPE = _closed(
    "kind inputs injectors",
    kind={"enum": ["cloud", "net"]},
    inputs=_closed("fields required", fields=_list(FIELD), required=_list(TEXT)),
    injectors=_closed(
        "env file",
        env={"propertyNames": NAME, "additionalProperties": ASCII},
        file={"propertyNames": {"pattern": "^template\\.\\w+$"}, "additionalProperties": ASCII},
    ),
)
#: Types of questions, and the types of their defaults.
QUESTIONS = {**dict.fromkeys(("text", "textarea", "multiplechoice"), TEXT), "integer": WHOLE}
QUESTION = _closed(
    "type question_name variable required",
    type={"enum": list(QUESTIONS)},
    choices=_list(TEXT),
    required=TRUTH,
    default={},
    **dict.fromkeys(("question_name", "question_description", "variable"), TEXT),
    **dict.fromkeys(("min", "max"), WHOLE),
)
SURVEY = _closed("name description spec", name=TEXT, description=TEXT, spec=_list(QUESTION))
#: What a node may contain without a prompt of its template.
NODE = {"identifier", "unified_job_template", "workflow_job_template", "extra_data", "all_parents_must_converge"}


def _complaints(value: object, schema: Mapping[str, Any]) -> list[str]:
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(value)
    ]


def _twice(names: list[str]) -> list[str]:
    return [f"{name} twice" for name in {name for name in names if names.count(name) > 1}]


def credential_type(kind: object, inputs: Mapping[str, Any], injectors: Mapping[str, Any]) -> list[str]:
    found = _complaints({"kind": kind, "inputs": inputs, "injectors": injectors}, CREDENTIAL_TYPE)
    if found:
        return found
    ids = [field["id"] for field in inputs["fields"]]
    found = _twice(ids) + [f"required: {name} is not a field" for name in inputs["required"] if name not in ids]
    files = {name.partition(".")[2]: "x" for name in injectors["file"]}
    try:
        for text in [*injectors["file"].values(), *injectors["env"].values()]:
            rendered(text, {}, ids, files)
            rendered(text, dict.fromkeys(ids, "EXAMPLE"), ids, files)
    except jinja2.TemplateError as error:
        found.append(str(error))
    return found


def rendered(template: str, inputs: Mapping[str, Any], ids: Iterable[str], files: Mapping[str, str]) -> str:
    """What a job gets: a field that was left out renders as an empty text."""
    values = {name: inputs.get(name, "") for name in ids}
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(**values, tower={"filename": dict(files)})


def survey(spec: Mapping[str, Any]) -> list[str]:
    found = _complaints(spec, SURVEY)
    if found:
        return found
    found = _twice([question["variable"] for question in spec["spec"]])
    return found + [f"{question['variable']}: wrong default" for question in spec["spec"] if not _fits(**question)]


def _fits(type: str, default: Any = None, **question: Any) -> bool:  # noqa: A002
    if type == "multiplechoice":
        return default in (None, "", *question["choices"])
    if default in (None, ""):
        return True
    size = len(default) if type.startswith("text") else default
    low, high = question.get("min", size), question.get("max", size)
    return not _complaints(default, QUESTIONS[type]) and bool(low <= size <= high)


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


class _UnsafeDumper(yaml.SafeDumper):
    def represent_data(self, data: Any) -> Any:
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)


def extra_vars(answers: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """The file of extra variables: answers are unsafe texts, and what the template stores is not."""
    more = {key: value for key, value in stored.items() if key not in answers}
    return yaml.dump(dict(answers), Dumper=_UnsafeDumper) + (yaml.safe_dump(more) if more else "")
