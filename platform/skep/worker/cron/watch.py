"""Watches the event loop of the timer from a thread: one cron that blocks it holds up all others.

The process is ended then; its successor goes on with the other crons.
"""

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable

from skep.worker.cron.execution import CronExecution, executions

# In how many steps the time is counted: a process that was stopped for longer counts one step.
_STEPS = 8
# What is blocked may hold a lock that a report needs.
_PATIENCE = 1.0


class LoopWatch:
    """Calls `hung(execution, stack)` in a thread when the loop has been blocked for `limit`
    seconds, and ends the process with `code` soon after. `execution` is what blocks it, None if
    that is not a cron; `stack` is where it is."""

    def __init__(
        self,
        limit: float,
        hung: Callable[[CronExecution | None, str], None],
        code: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._hung = hung
        self._code = code
        self._loop_thread = threading.get_ident()
        self._alive = self._stopped = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cron-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._end.set()

    def _watch(self) -> None:
        while not self._end.is_set():
            self._alive = False
            try:
                self._loop.call_soon_threadsafe(self._mark)
            except RuntimeError:  # the loop is closed
                return
            for _ in range(_STEPS):
                if self._end.wait(self._limit / _STEPS):
                    return
                if self._alive:
                    break
            else:
                self._finish()

    def _mark(self) -> None:
        self._alive = True

    def _finish(self) -> None:
        execution, stack = self._found()
        report = threading.Thread(target=self._hung, args=(execution, stack), daemon=True)
        report.start()
        report.join(_PATIENCE)
        os._exit(self._code)

    def _found(self) -> tuple[CronExecution | None, str]:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        execution = None if task is None else executions.get(task)
        if execution is None and len(executions) == 1:  # a task that the only run has started
            (execution,) = executions.values()
        return execution, stack
