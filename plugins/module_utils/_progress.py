# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about one ETL's action, as plain data.

Private to this collection. Pure: no input, no output. It survives as JSON, so that a wait can be cut into slices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import NEVER, EtlStatus


@dataclass
class Progress:
    """Everything that is known about one ETL's action: plain data. Times are seconds on the engine's clock."""

    etl_id: int
    etl_name: str | None = None
    phase: str = "plan"
    began: float | None = None
    due: float = 0.0
    changed_at: float = 0.0
    baseline: list[str | None] | None = None
    last: list[str | None] | None = None
    times_none: int = 0
    seen_executing: bool = False
    seen_unknown: bool = False
    attached: bool = False
    sent: str | None = None
    sent_at: float = 0.0
    first_sent_at: float = 0.0
    sends: int = 0
    put_off: int = 0
    cleared: bool = False
    kept: list[Any] | None = None
    accepted: bool = False
    ambiguous: bool = False
    doubt: str = ""
    escalated: bool = False
    too_late: bool = False
    request_id: int | None = None
    request_status: str | None = None
    started_at: str | None = None
    ended: float | None = None
    polls: int = 0
    lost_polls: int = 0
    losses: int = 0
    lost_since: float | None = None
    last_loss: str = ""
    settling: int = 0
    spaced: bool = False
    renewals_before: int = 0
    token_renewals: int = 0
    timeline: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outcome: str | None = None
    evidence: str | None = None
    failed: bool = False
    changed: bool = False
    reason: str = ""
    error: dict[str, Any] | None = None
    remedy: str = ""

    @property
    def label(self) -> str:
        return f"ETL {self.etl_id} ({self.etl_name})" if self.etl_name else f"ETL {self.etl_id}"

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def before(self) -> EtlStatus | None:
        return _status(self.baseline)

    @property
    def seen(self) -> EtlStatus | None:
        return _status(self.last)

    def export(self) -> dict[str, Any]:
        return asdict(self)


def _status(data: list[str | None] | None) -> EtlStatus | None:
    return None if data is None else EtlStatus(data[0] or NEVER, data[1], data[2])
