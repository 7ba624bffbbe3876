# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All settings: names, types, defaults, and meanings. Times are in simulated seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Callable, Literal, Optional, Union, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """Input that the simulator cannot use, with a message for the user."""


@dataclass(frozen=True)
class Rule:
    """What a value of an annotated type must be, as text and as a check."""

    words: str
    test: Callable[[Any], bool]


# More than any test needs, and small enough that sums of such numbers are valid dates.
_LARGEST = 1e10
Seconds = Annotated[float, Rule("a number, at least 0", lambda value: value >= 0)]
Whole = Annotated[int, Rule("an integer, at least 0", lambda value: value >= 0)]
AnyCode = Annotated[int, Rule("an HTTP status from 200 to 599", lambda value: 200 <= value <= 599)]
Line = Annotated[str, Rule("one line of text", str.isprintable)]
Latin1 = Annotated[str, Rule("Latin-1 text", lambda value: all(ord(letter) < 256 for letter in value))]
Word = Optional[str]
Action = Literal["run", "schedule", "stop", "kill"]
NoneStyle = Literal["json_null", "absent", "empty_string", "204_empty", "200_empty", "null"]
TimeFormat = Literal["z", "offset", "zone", "fraction", "no_zone", "space", "epoch", "epoch_text", "epoch_ms"]
Fields = Mapping[str, Any]


@dataclass
class StartState:
    """The initial state of an ETL. Set by PATCH, `state` ends everything that is in progress."""

    # Default: none for batch, WAITING for periodic, SERVICE_OFF for service. RUNNING and SERVICE_ON begin an execution.
    state: Word = None  # any word
    exit_code: Word = None  # default: OK if the state says that it ran before
    last_exec_ts: Word = None  # such as 2026-01-31T23:59:59Z
    last_exec_age: Optional[float] = None  # the same in seconds before now; default: a day if it ran before


@dataclass
class Behavior:
    """How an ETL behaves."""

    name: str = ""  # default: ETL <id>
    kind: Literal["batch", "periodic", "service"] = "batch"
    duration: Optional[Seconds] = 5  # null: until it is finished, stopped, or killed
    exit: Word = "OK"  # of its runs; any word
    exits: list[Word] = field(default_factory=list)  # of the next runs, one each; then `exit` again
    start_lag: Seconds = 0  # from accepting to RUNNING; the old state shows meanwhile
    schedule_lag: Seconds = 0  # from accepting `schedule` to WAITING
    stop_lag: Seconds = 0  # from accepting `stop` to its effect
    kill_lag: Seconds = 0  # from accepting `kill` to its effect
    ts_semantics: Literal["end", "start"] = "end"  # whether last_exec_ts is the end or the start of an execution
    # inactive: accepts everything and does nothing until it is active again; refuses: 200 with ERROR
    engine: Literal["active", "inactive", "refuses"] = "active"
    # queue: afterward; parallel: at the same time; error: 200 with ERROR
    run_when_running: Literal["error", "http_500", "queue", "parallel"] = "error"
    when_idle: Literal["ok", "error"] = "ok"  # stop or kill while nothing is executing
    stop_effect: Literal["stops", "ignored"] = "stops"
    kill_effect: Literal["kills", "ignored"] = "kills"
    stop_exit: Word = "OK"  # exit of a stopped execution
    stop_state: Word = None  # default: as after an execution; service: SERVICE_OFF
    answers: dict[Action, Word] = field(default_factory=dict)  # other words as request_status; ERROR does nothing
    answer_work: Optional[bool] = None  # whether such a request is carried out; default: unless ERROR
    listed: bool = True  # a key may not see all ETLs
    run_configurations: Optional[list[dict[str, Any]]] = None  # in the list; default: one active Default
    none_style: Optional[NoneStyle] = None  # as in Settings, for this ETL alone


@dataclass
class EtlFields(StartState, Behavior):
    """Everything that can be set for an ETL."""


@dataclass
class Settings:
    """How the whole tenant behaves."""

    token_life: Seconds = 900  # until a JWT is refused
    # refused: 401; absent: 404; rotates: also returns a new refresh token and forgets the old one
    refresh_mode: Literal["works", "refused", "absent", "rotates"] = "works"
    jwt_exp: bool = True  # whether the JWT carries iat and exp
    jwt_opaque: bool = False  # random text instead of a JWT
    tenant_required: bool = False  # 404 for a login without tenant_id
    strict_accept: bool = True  # 400 unless Accept is exactly application/json
    # Which requests need `Content-Type: application/json` (415 otherwise); all: as the manual prints it
    strict_content_type: Literal["none", "bodies", "all"] = "bodies"
    list_without_slash: Literal["redirect", "not_found", "served"] = "redirect"  # redirect: 301; not_found: 404
    # strict: run_execution_properties must be there; lenient: no body and {} are fine; filled: an empty map is refused
    run_body: Literal["strict", "lenient", "filled"] = "strict"
    stop_body: Literal["refused", "ignored"] = "refused"  # a body sent with stop or kill
    not_found_code: AnyCode = 400  # for an ETL that does not exist
    not_found_style: Literal["json", "text", "empty", "html"] = "json"
    not_found_type: Optional[Line] = None  # another Content-Type for that answer
    forbidden_code: AnyCode = 403  # for a key without the right to read or to write
    # An ETL without a state. json_null: fields are null; absent: only task_id; null: the whole body is null
    none_style: NoneStyle = "json_null"
    status_code: Literal[200, 204] = 200  # of a status answer that has a body
    # zone: +02:00; no_zone: without Z; space: no T and no Z. A list: one after the other, from answer to answer
    time_format: Union[TimeFormat, list[TimeFormat]] = "z"
    words_case: Literal["as_is", "lower", "title"] = "as_is"  # of states, exits, and request_status
    state_words: dict[str, Word] = field(default_factory=dict)  # what is shown instead, such as {"RUNNING": "BUSY"}
    exit_words: dict[str, Word] = field(default_factory=dict)
    request_words: dict[str, Word] = field(default_factory=dict)
    replica_lag: list[Seconds] = field(default_factory=list)  # status answers are so late, one after the other
    date_header: bool = True
    date_text: Optional[Line] = None  # sent as the Date header, such as Fri, 31 Dec 9999 23:59:59 GMT
    clock_skew: float = 0  # by which all times that the server shows are off
    latency_ms: Seconds = 0  # real milliseconds added to every API request


@dataclass
class Fault:
    """A fault and its parameters; `faults.KINDS` lists the parameters of each kind."""

    kind: str = "status"
    work: Optional[bool] = None  # whether the request is carried out; default: as the kind says
    code: Optional[AnyCode] = None  # HTTP status
    body: Any = None  # text is sent as it is, anything else as JSON
    content_type: Optional[Line] = None  # default: JSON, or text for text
    headers: dict[Line, Line] = field(default_factory=dict)
    retry_after: Optional[int] = None  # Retry-After in seconds
    seconds: Seconds = 1  # real seconds; for `stale` simulated ones
    location: Line = "https://redirected.invalid/"  # of a redirect
    text: Latin1 = ""  # of a raw answer
    set: dict[str, Any] = field(default_factory=dict)  # fields of the answer to set; in a list, of each item
    drop: list[str] = field(default_factory=list)  # fields of the answer to leave out


def one_of(words: Iterable[str]) -> Any:
    """The type of texts of which there are only these."""
    return Annotated[str, Rule(f"one of {', '.join(words)}", frozenset(words).__contains__)]


def is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and abs(value) <= _LARGEST


def is_integer(value: object) -> bool:
    return isinstance(value, int) and is_number(value)


def as_object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} must be a JSON object, not {value!r}.")
    return value


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InputError(f"{what} has no '{name}'; it has {', '.join(known)}.")


@cache
def fields_of(owner: type) -> Fields:
    return get_type_hints(owner, include_extras=True)


def check(owner: type | Fields, given: object, what: str) -> dict[str, Any]:
    """Return `given` if every name and value is valid for `owner`; raise InputError otherwise."""
    values = as_object(given, what)
    fields = fields_of(owner) if isinstance(owner, type) else owner
    refuse_unknown(values, fields, what)
    for name, value in values.items():
        rule = _rule(fields[name])
        if not rule.test(value):
            raise InputError(f"{what}: '{name}' must be {rule.words}, not {value!r}.")
    return values


_PLAIN: dict[Any, Rule] = {
    Any: Rule("anything", lambda value: True),
    float: Rule("a number", is_number),
    int: Rule("an integer", is_integer),
    bool: Rule("true or false", lambda value: isinstance(value, bool)),
    str: Rule("text", lambda value: isinstance(value, str)),
    type(None): Rule("null", lambda value: value is None),
}


@cache
def _rule(hint: Any) -> Rule:
    """What a value with this type hint must be."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        plain, rule = _rule(inner[0]), inner[1]
        return Rule(rule.words, lambda value: plain.test(value) and rule.test(value))
    if origin is Literal:
        return Rule(
            f"one of {', '.join(map(str, inner))}", lambda value: not isinstance(value, bool) and value in inner
        )
    parts = [_rule(part) for part in inner]
    words = [part.words for part in parts]
    if origin is list:
        return Rule(
            f"a list ({words[0]} each)", lambda value: isinstance(value, list) and all(map(parts[0].test, value))
        )
    if origin is dict:

        def fits(value: Any) -> bool:
            return isinstance(value, dict) and all(parts[0].test(k) and parts[1].test(v) for k, v in value.items())

        return Rule(f"an object ({': '.join(words)})", fits)
    return Rule(" or ".join(words), lambda value: any(part.test(value) for part in parts))
