"""What has happened, until a worker has fired it as an event of the platform.

The supervisor knows no engine, so it gives each piece of news to one worker of the current
generation, which puts the event and says so. Should it end before, another is given the same piece:
the event bears an id made of the piece, by which the engine knows it again.
"""

import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import RolloutReported, SlotChanged, WorkerEnded
from skep.supervisor.processes.exit_reason import exit_facts
from skep.supervisor.processes.slot import SlotState
from skep.wire.messages import Happened, Noted

log = logging.getLogger(__name__)

# While no worker takes them, workers may crash by the hundred; the newest are worth most.
_MOST = 1000
_COMMITTED = ("committed", "rolled back")


class PlatformEvents:
    """The pieces of news that are on their way; `current()` is the generation in service."""

    def __init__(self, current: Callable[[], Generation | None], children: Children) -> None:
        self._current = current
        self._numbers = itertools.count(1)
        self._pending: dict[int, Happened] = {}
        self._with: dict[int, Child] = {}
        events = children.events
        events.subscribe(WorkerEnded, self._worker_ended)
        events.subscribe(RolloutReported, self._reported)
        events.subscribe(SlotChanged, self._slot_changed)
        children.on(Noted, self._noted)

    def happened(self, event: str, fields: Mapping[str, Any]) -> None:
        """Have an event of `skep.api.tasks.platform_events` fired."""
        number = next(self._numbers)
        self._pending[number] = Happened(number, event, dict(fields))
        if len(self._pending) > _MOST:
            oldest = min(self._pending)
            log.warning("no worker has fired %s for too long", self._pending.pop(oldest).event)
            self._with.pop(oldest, None)
        self._pass_on()

    def _noted(self, _: Child, message: Noted) -> None:
        self._pending.pop(message.number, None)
        self._with.pop(message.number, None)

    def _pass_on(self) -> None:
        waiting = [number for number in self._pending if number not in self._with]
        teller = self._teller() if waiting else None
        if teller is not None:
            for number in waiting:
                self._with[number] = teller
                teller.send(self._pending[number])

    def _teller(self) -> Child | None:
        generation = self._current()
        if generation is None:
            return None
        ready = generation.crew.accepting()
        # Where the listeners run anyway, if there are any.
        return min(ready, key=lambda child: not child.slot.startswith("task."), default=None)

    def _worker_ended(self, event: WorkerEnded) -> None:
        child = event.child
        for number in [number for number, teller in self._with.items() if teller is child]:
            del self._with[number]
        if child.pid and not child.dismissed and not event.stopping:
            self.happened("WorkerExited", exit_facts(child))
        self._pass_on()

    def _reported(self, event: RolloutReported) -> None:
        report, request = event.report, event.request
        if report.outcome in (*_COMMITTED, "live") and request.changes:
            news: dict[str, Any] = {
                "changed": [change.key for change in request.changes],
                "release_keys": dict(report.release_keys),
                "generation": report.generation,
                "live": report.outcome == "live",
            }
            self.happened("ConfigChanged", news)
        if report.outcome in _COMMITTED:
            cause = "rollback" if report.outcome == "rolled back" else report.cause
            news = {"generation": report.generation, "cause": cause}
            self.happened("GenerationCommitted", news)

    def _slot_changed(self, event: SlotChanged) -> None:
        if event.state is SlotState.READY:
            self._pass_on()
