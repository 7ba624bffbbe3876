# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several ETLs at once: who may start, whose turn it is, and when to pause.

Private to this collection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._clock import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._execution import Execution
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress


class Batch:
    """Brings a list of ETLs to their end, at most C(max_parallel) of them under way at a time.

    One ETL's failure never hides another's result: every one ends with an outcome.

    :param elapsed: seconds that earlier slices of the same task have used.
    """

    def __init__(
        self,
        api: HelixApi,
        policy: Policy,
        progress: Sequence[Progress],
        clock: Clock,
        max_parallel: int = 1,
        elapsed: float = 0.0,
    ) -> None:
        self.progress = list(progress)
        self._clock = clock
        self._origin = clock.now() - elapsed
        self._max_parallel = max_parallel
        self._redactor = api.transport.redactor
        self._active: list[Execution] = []
        self._executions = [
            Execution(api, policy, p, self.now, lambda: len(self._active)) for p in self.progress if not p.done
        ]

    def now(self) -> float:
        """Seconds since the task began."""
        return self._clock.now() - self._origin

    def give_up(self, error: HelixError) -> None:
        """End all that is not done with the same error."""
        for execution in self._executions:
            execution.give_up(error)

    def run(self, pause: Callable[[], bool] = lambda: False) -> bool:
        """Go on until every ETL is done (True), or until C(pause()) asks for a break (False)."""
        begun = [e for e in self._executions if not e.progress.done and e.progress.began is not None]
        waiting = deque(e for e in self._executions if e.progress.began is None and not e.progress.done)
        self._active = begun
        width = min(self._max_parallel, len(self._executions))
        if width <= 1:
            return self._run_alone(waiting, pause)
        from concurrent.futures import ThreadPoolExecutor  # one ETL, the usual case, needs no threads

        with ThreadPoolExecutor(max_workers=width) as pool:
            return self._run_together(waiting, pause, pool)

    def _admit(self, waiting: deque[Execution]) -> None:
        self._active = [e for e in self._active if not e.progress.done]
        while waiting and len(self._active) < self._max_parallel:
            execution = waiting.popleft()
            execution.progress.due = self.now()
            self._active.append(execution)

    def _run_alone(self, waiting: deque[Execution], pause: Callable[[], bool]) -> bool:
        while True:
            self._admit(waiting)
            if not self._active:
                return True
            turn = min(self._active, key=lambda e: e.progress.due)
            self._clock.sleep(turn.progress.due - self.now())
            self._step(turn)
            if not turn.progress.done and pause():
                return False

    def _run_together(self, waiting: deque[Execution], pause: Callable[[], bool], pool: Any) -> bool:
        from concurrent.futures import FIRST_COMPLETED, Future, wait

        busy: dict[Future[None], Execution] = {}
        pausing = False
        while True:
            if not pausing:
                self._admit(waiting)
            underway = set(busy.values())
            resting = [e for e in self._active if e not in underway and not e.progress.done]
            for execution in [] if pausing else resting:
                if execution.progress.due <= self.now():
                    busy[pool.submit(self._step, execution)] = execution
                    underway.add(execution)
            soonest = min((e.progress.due for e in resting if e not in underway), default=None)
            if not busy:
                if pausing:
                    return False
                if soonest is None:
                    return True
                self._clock.sleep(soonest - self.now())
                continue
            patience = None if soonest is None or pausing else max(soonest - self.now(), 0.0)
            finished, _rest = wait(busy, timeout=patience, return_when=FIRST_COMPLETED)
            for future in finished:
                del busy[future]
            pausing = pausing or pause()

    def _step(self, execution: Execution) -> None:
        try:
            execution.step()
        except Exception as error:  # noqa: BLE001 - a fault of ours: the other ETLs, and what was started, must not be lost
            text = self._redactor.text(str(error), 200)
            execution.give_up(
                HelixError(
                    f"{execution.progress.label}: an error inside the collection ({type(error).__name__}: {text}).",
                    kind="internal_error",
                    remedy="Please report it with this message. Look at the ETL before you start it again.",
                )
            )
