# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sending the requests of one ETL: never twice where the first may have worked.

Private to this collection. Keeps what was sent, and what is known of its fate, in C(Progress).
"""

from __future__ import annotations

from typing import Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError, RequestRefusedError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import backoff
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._status import EtlStatus
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._timefmt import rfc3339
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._watching import Watcher

#: A stop or kill request with an unknown fate is repeated after this many seconds if the ETL still executes.
REPEAT_AFTER = 5.0


class Sender:
    """Sends the requests of one C(Progress).

    :param now: seconds on the engine's clock.
    """

    def __init__(
        self, api: HelixApi, policy: Policy, progress: Progress, now: Callable[[], float], watcher: Watcher
    ) -> None:
        self._api = api
        self._policy = policy
        self.progress = progress
        self._now = now
        self._watcher = watcher

    def send(self, action: str) -> bool:
        """Send a request once. False: it was certainly not executed and will be tried again after a new look.

        :raises HelixError: it was refused, or certainly not executed and not worth another try.
        """
        p = self.progress
        first = p.sent != action
        now = self._now()
        try:
            receipt = self._api.act(action, p.etl_id, self._policy.properties)
        except RequestRefusedError:
            if action in ("stop", "kill") and self._watcher.at_rest_now():
                p.warnings.append(
                    f"The {action} request for {p.label} was refused, because the execution had just ended."
                )
                p.sent, p.sent_at, p.too_late = action, now, True
                return True
            raise
        except HelixError as error:
            if not error.maybe_done:
                if error.transient and p.put_off < self._policy.retries:
                    p.put_off += 1
                    p.due = now + backoff(p.put_off, error.retry_after)
                    p.last_loss = error.message
                    return False
                raise
            p.ambiguous = True
            p.doubt = error.message
        else:
            p.accepted = p.changed = True
            p.ambiguous = False
            p.request_id = receipt.task_execution_request_id
            p.request_status = receipt.request_status
        p.put_off = 0
        p.sent, p.sent_at = action, now
        p.started_at = p.started_at or rfc3339(self._watcher.server_now())
        if first:
            p.first_sent_at, p.sends = now, 0
        p.sends += 1
        return True

    def push_stop(self, status: EtlStatus | None) -> None:
        """Repeat a stop or kill with an unknown fate, and escalate a stop that does not work."""
        p, policy = self.progress, self._policy
        if status is None or not (status.executing or status.state == "WAITING"):
            return
        now = self._now()
        kill_due = policy.kill_after is not None and now - p.first_sent_at >= policy.kill_after
        if p.sent == "stop" and kill_due and status.executing:
            p.escalated = True
            self.send("kill")
        elif p.ambiguous and now - p.sent_at >= REPEAT_AFTER and p.sends <= policy.retries:
            self.send(p.sent or policy.action)

    def forget(self) -> None:
        """The stop of C(if_running: restart) is over; what follows is the run's own request."""
        p = self.progress
        p.cleared = True
        p.changed = p.changed or p.ambiguous
        p.sent, p.sends, p.put_off = None, 0, 0
        p.accepted = p.ambiguous = False
        p.request_id = p.request_status = p.started_at = None
        p.doubt = ""
