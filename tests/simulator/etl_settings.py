# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How one pretend ETL behaves; `PUT` or `PATCH /_simulator/etls/{id}` sets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .checks import InputError, about, check
from .settings import NONE_STYLES

ACTIONS = ("run", "schedule", "stop", "kill")
START_STATE_FIELDS = ("state", "exit_code", "last_exec_ts", "last_exec_age")


@dataclass
class StartState:
    """What the ETL looks like at first. Kept apart because it is not behaviour: it changes as time goes on."""

    state: str | None = field(
        default=None,
        metadata=about(
            "text or null",
            "The state it is in. Default: none for batch, `WAITING` for periodic, `SERVICE_OFF` for service. "
            "`RUNNING` and `SERVICE_ON` begin an execution now. Any word is taken. "
            "Set by PATCH, it drops all that was under way",
        ),
    )
    exit_code: str | None = field(
        default=None,
        metadata=about("text or null", "Exit shown. Default: `OK` where the state says that it ran before"),
    )
    last_exec_ts: str | None = field(
        default=None, metadata=about("text or null", "Last execution as shown, such as `2026-01-31T23:59:59Z`")
    )
    last_exec_age: float | None = field(
        default=None,
        metadata=about(
            "number or null", "The same as seconds before now. Default: a day where the state says that it ran before"
        ),
    )


@dataclass
class Behaviour:
    name: str = field(default="", metadata=about("text", "Name in the list. Default: `ETL <id>`"))
    kind: str = field(
        default="batch", metadata=about("text", "What sort of ETL it is", choices=("batch", "periodic", "service"))
    )
    duration: float | None = field(
        default=5,
        metadata=about(
            "number or null", "Seconds of an execution; null: until it is finished, stopped or killed", minimum=0
        ),
    )
    exit: str | None = field(default="OK", metadata=about("text or null", "Exit of its runs; any word"))
    exits: list[str | None] = field(
        default_factory=list, metadata=about("list", "Exits of the next runs, one each; then `exit` again")
    )
    start_lag: float = field(
        default=0,
        metadata=about("number", "Seconds from accepting to `RUNNING`; the old state shows meanwhile", minimum=0),
    )
    schedule_lag: float = field(
        default=0, metadata=about("number", "Seconds from accepting `schedule` to `WAITING`", minimum=0)
    )
    stop_lag: float = field(
        default=0, metadata=about("number", "Seconds from accepting `stop` to its effect", minimum=0)
    )
    kill_lag: float = field(
        default=0, metadata=about("number", "Seconds from accepting `kill` to its effect", minimum=0)
    )
    ts_semantics: str = field(
        default="end",
        metadata=about("text", "Whether `last_exec_ts` is when an execution ended or began", choices=("end", "start")),
    )
    period: float = field(
        default=0,
        metadata=about(
            "number", "Seconds from one start to the next while `WAITING`; 0: never starts by itself", minimum=0
        ),
    )
    engine: str = field(
        default="active",
        metadata=about(
            "text",
            "Its remote engine. `inactive` accepts everything and does nothing until `active` again; "
            "`refuses` answers 200 with `ERROR`",
            choices=("active", "inactive", "refuses"),
        ),
    )
    run_when_running: str = field(
        default="error",
        metadata=about(
            "text",
            "`run` while `RUNNING`: `error` (200 with `ERROR`), `http_500`, `queue` (afterwards), "
            "`parallel` (at the same time)",
            choices=("error", "http_500", "queue", "parallel"),
        ),
    )
    run_when_service_on: str = field(
        default="error", metadata=about("text", "`run` or `schedule` while `SERVICE_ON`", choices=("error", "ok"))
    )
    when_idle: str = field(
        default="ok", metadata=about("text", "`stop` or `kill` when there is nothing to end", choices=("ok", "error"))
    )
    stop_effect: str = field(
        default="stops", metadata=about("text", "Whether an accepted `stop` stops", choices=("stops", "ignored"))
    )
    kill_effect: str = field(
        default="kills", metadata=about("text", "Whether an accepted `kill` kills", choices=("kills", "ignored"))
    )
    stop_exit: str | None = field(default="OK", metadata=about("text or null", "Exit of a stopped execution"))
    kill_exit: str | None = field(default=None, metadata=about("text or null", "Exit of a killed execution"))
    kill_stamps: bool = field(
        default=True, metadata=about("boolean", "Whether killing changes `last_exec_ts` (with `ts_semantics: end`)")
    )
    end_state: str | None = field(
        default=None,
        metadata=about(
            "text or null", "State after an execution. Default: `WAITING` if periodic or scheduled, else `ENDED`"
        ),
    )
    stop_state: str | None = field(
        default=None,
        metadata=about("text or null", "State after `stop`. Default: as after an execution; service: `SERVICE_OFF`"),
    )
    kill_state: str | None = field(
        default=None,
        metadata=about(
            "text or null", "State after `kill` of an execution. Default: `ABORTED`; service: `SERVICE_OFF`"
        ),
    )
    kill_waiting_state: str | None = field(
        default="ENDED", metadata=about("text or null", "State after `kill` of a `WAITING` one")
    )
    answers: dict[str, str | None] = field(
        default_factory=dict,
        metadata=about(
            "object", 'What `request_status` says instead, such as `{"run": "WARNING"}`; `ERROR` then does nothing'
        ),
    )
    answer_work: bool | None = field(
        default=None,
        metadata=about(
            "boolean or null", "Whether a request answered through `answers` is carried out. Default: unless `ERROR`"
        ),
    )
    listed: bool = field(default=True, metadata=about("boolean", "Whether the list shows it (a key may not see all)"))
    run_configurations: list[dict[str, Any]] | None = field(
        default=None, metadata=about("list or null", "Run configurations in the list. Default: one active `Default`")
    )
    none_style: str | None = field(
        default=None, metadata=about("text or null", "As in the configuration, for this ETL alone", choices=NONE_STYLES)
    )
    status_overlay: dict[str, Any] = field(
        default_factory=dict, metadata=about("object", "Fields laid over its status answer, for odd shapes")
    )


@dataclass
class EtlFields(StartState, Behaviour):
    """Everything that may be sent for an ETL."""


def check_etl(given: object, etl_id: int) -> dict[str, Any]:
    what = f"ETL {etl_id}"
    values = check(EtlFields, given, what)
    for word in values.get("exits", []):
        if word is not None and not isinstance(word, str):
            raise InputError(f"{what}: 'exits' must be a list of words or null, not {word!r}.")
    for action, word in values.get("answers", {}).items():
        if action not in ACTIONS or not (word is None or isinstance(word, str)):
            raise InputError(
                f"{what}: 'answers' must map run, schedule, stop or kill to a word, not {action}: {word!r}."
            )
    return values
