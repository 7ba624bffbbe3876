# Copyright (c) 2026, CapacityOps
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several ETLs at once: who may start, whose turn it is, and when to pause.

Private to this collection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, Callable

from ansible_collections.capacityops.bmc_helix.plugins.module_utils._api import HelixApi
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._errors import HelixError
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._execution import Execution
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._http import Clock
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._plan import Policy
from ansible_collections.capacityops.bmc_helix.plugins.module_utils._progress import Progress

#: Before a break, whoever has a turn within so many seconds gets it: ETLs of a list often end together, and a break
#: costs the start of a process.
LAST_CALL = 2.0


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
        self._active = [e for e in self._executions if not e.progress.done and e.progress.began is not None]
        waiting = deque(e for e in self._executions if e.progress.began is None and not e.progress.done)
        width = min(self._max_parallel, len(self._executions))
        if width <= 1:
            return self._run_alone(waiting, pause)
        from concurrent.futures import ThreadPoolExecutor  # one ETL, the usual case, needs no threads

        with ThreadPoolExecutor(max_workers=width) as pool:
            return self._run_together(waiting, pause, pool)

    def _admit(self, waiting: deque[Execution]) -> list[Execution]:
        """Let as many begin as there is room for."""
        admitted = []
        while waiting and len(self._active) < self._max_parallel:
            execution = waiting.popleft()
            execution.progress.due = self.now()
            self._active.append(execution)
            admitted.append(execution)
        return admitted

    def _run_alone(self, waiting: deque[Execution], pause: Callable[[], bool]) -> bool:
        while True:
            self._admit(waiting)
            if not self._active:
                return True
            turn = min(self._active, key=lambda e: e.progress.due)
            self._clock.sleep(turn.progress.due - self.now())
            self._step(turn)
            if turn.progress.done:
                self._active.remove(turn)
            elif pause():
                return False

    def _run_together(self, waiting: deque[Execution], pause: Callable[[], bool], pool: Any) -> bool:
        from queue import Empty, SimpleQueue

        stepped: SimpleQueue[Execution] = SimpleQueue()

        def work(execution: Execution) -> None:
            try:
                self._step(execution)
            finally:
                stepped.put(execution)

        turns = _Turns(self._active)
        busy = 0
        last_call = inf
        while True:
            if self.now() < last_call:
                turns.add(*self._admit(waiting))
            for execution in turns.take(min(self.now(), last_call)):
                pool.submit(work, execution)
                busy += 1
            soonest = turns.soonest if turns.soonest <= last_call else inf
            if not busy:
                if soonest == inf:
                    # A break that comes with the very end is none.
                    return turns.soonest == inf and not waiting
                self._clock.sleep(soonest - self.now())
                continue
            try:
                execution = stepped.get(timeout=None if soonest == inf else max(soonest - self.now(), 0.0))
            except Empty:
                continue
            busy -= 1
            if execution.progress.done:
                self._active.remove(execution)
            else:
                turns.add(execution)
            if last_call == inf and pause():
                last_call = self.now() + LAST_CALL

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


class _Turns:
    """Executions in the order in which they want to be called."""

    def __init__(self, executions: Sequence[Execution]) -> None:
        # The number breaks ties, so that those with the same time take turns.
        self._numbers = count()
        self._heap: list[tuple[float, int, Execution]] = []
        self.add(*executions)

    @property
    def soonest(self) -> float:
        """The time of the next turn; infinite where there is none."""
        return self._heap[0][0] if self._heap else inf

    def add(self, *executions: Execution) -> None:
        for execution in executions:
            heappush(self._heap, (execution.progress.due, next(self._numbers), execution))

    def take(self, until: float) -> Iterator[Execution]:
        """Those whose turn has come by then."""
        while self.soonest <= until:
            yield heappop(self._heap)[2]
