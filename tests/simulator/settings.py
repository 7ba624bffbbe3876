# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the whole pretend server behaves; `PUT /_simulator/config` changes it while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from .checks import about

NONE_STYLES = ("json_null", "absent", "empty_string", "204_empty", "null")


@dataclass
class Settings:
    token_life: float = field(default=900, metadata=about("number", "Seconds until a JWT is refused", minimum=0))
    refresh_life: float = field(
        default=86400, metadata=about("number", "Seconds until a refresh token is refused", minimum=0)
    )
    refresh_mode: str = field(
        default="works",
        metadata=about(
            "text",
            "`works`; `refused`: 401; `absent`: 404, as if the address did not exist; "
            "`rotates`: also returns a new refresh token and forgets the old one",
            choices=("works", "refused", "absent", "rotates"),
        ),
    )
    jwt_exp: bool = field(default=True, metadata=about("boolean", "Whether the JWT carries `iat` and `exp`"))
    jwt_opaque: bool = field(default=False, metadata=about("boolean", "Random text instead of a JWT"))
    tenant_required: bool = field(
        default=False, metadata=about("boolean", "A login without `tenant_id` is answered 404")
    )
    strict_accept: bool = field(
        default=True, metadata=about("boolean", "400 unless `Accept` is exactly `application/json`")
    )
    strict_content_type: str = field(
        default="bodies",
        metadata=about(
            "text",
            "Which requests must say `Content-Type: application/json` (415 otherwise): "
            "`none`, `bodies` (those with a body), `all` (every request, as the manual prints it)",
            choices=("none", "bodies", "all"),
        ),
    )
    list_without_slash: str = field(
        default="redirect",
        metadata=about(
            "text",
            "Answer to the list address without its last slash: `redirect` (301) or `not_found` (404)",
            choices=("redirect", "not_found"),
        ),
    )
    run_body: str = field(
        default="strict",
        metadata=about(
            "text",
            "Body of run and schedule. `strict`: `run_execution_properties` must be there, may be empty; "
            "`lenient`: an empty body and `{}` are fine too; `filled`: an empty map is refused",
            choices=("strict", "lenient", "filled"),
        ),
    )
    stop_body: str = field(
        default="refused",
        metadata=about(
            "text",
            "A body sent with stop or kill: `refused` (400) or `ignored`",
            choices=("refused", "ignored"),
        ),
    )
    not_found_code: int = field(
        default=400, metadata=about("integer", "HTTP status for an ETL that does not exist", minimum=400, maximum=599)
    )
    not_found_style: str = field(
        default="json",
        metadata=about(
            "text",
            "Body of that answer",
            choices=("json", "text", "empty", "html"),
        ),
    )
    none_style: str = field(
        default="json_null",
        metadata=about(
            "text",
            "How the status of an ETL that has none is shown: `json_null` (fields are null), `absent` "
            "(only `task_id`), "
            "`empty_string`, `204_empty`, `null` (the body is `null`)",
            choices=NONE_STYLES,
        ),
    )
    date_header: bool = field(default=True, metadata=about("boolean", "Whether answers carry `Date`"))
    clock_skew: float = field(
        default=0,
        metadata=about(
            "number", "Seconds by which every time that the server shows is off (`Date`, `last_exec_ts`, JWT claims)"
        ),
    )
    latency_ms: float = field(
        default=0, metadata=about("number", "Real milliseconds added to every API request", minimum=0)
    )
