"""Tell once a second how full the queues are."""

import asyncio
from contextlib import suppress

from skep.base.errors import EngineError
from skep.base.telemetry import Telemetry
from skep.engine.base import Engine, QueueStats

_EVERY = 1.0


class QueueWatch:
    """Looks at an engine's queues. One that has become empty is told of once more, with zeros."""

    def __init__(self, engine: Engine, telemetry: Telemetry) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._known: set[str] = set()

    async def run(self) -> None:
        """Watch for ever; while the engine is out of reach there is nothing to tell."""
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(EngineError):
                self._tell(await self._engine.stats())

    def _tell(self, stats: dict[str, QueueStats]) -> None:
        for queue in self._known | stats.keys():
            found = stats.get(queue, QueueStats())
            self._telemetry.point(
                "queue.measured",
                queue=queue,
                ready=found.ready,
                scheduled=found.scheduled,
                dead=found.dead,
                oldest=found.oldest / 1000,
            )
        self._known = set(stats)
