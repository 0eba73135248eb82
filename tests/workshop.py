"""A store, an engine and a task worker in one loop: the whole way of a task, without processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from skep.api.plugin import Plugin
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.contract import DeliveryRow, Engine, QueueStats
from skep.engine.embedded import Embedded
from skep.engine.ids import now_ms
from skep.engine.senders import sender_of
from skep.testing.real import at_work, store
from skep.worker.kinds.tasks import TaskKind
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace
from tests.support import wait_until_async

SENDER = sender_of("run-1", 7, "code-of-7")
POINTS = (
    "task.enqueued",
    "task.waited",
    "task.running",
    "task.finished",
    "task.cut_off",
    "event.published",
    "event.started",
    "event.delivered",
)


@dataclass
class Workshop:
    """What a test can look at."""

    engine: Engine
    kind: TaskKind
    points: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    retirements: list[str] = field(default_factory=list)
    # By how many ms the worker's clock is ahead of the store's.
    ahead: int = 0
    telemetry: Telemetry = field(default_factory=Telemetry)
    _counts: dict[tuple[str, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.telemetry.subscribe("store.counted", self._take)

    def _take(self, fields: dict[str, Any]) -> None:
        self._counts[fields["metric"], *fields["labels"]] = fields["number"]

    def tallied(self, metric: str) -> dict[tuple[str, ...], int]:
        """Return what the store has counted, but for zeros."""
        self.telemetry.point("metrics.asked")
        return {key[1:]: n for key, n in self._counts.items() if key[0] == metric and n}

    def note(self, name: str, fields: Mapping[str, Any]) -> None:
        """Remember a point of telemetry."""
        self.points.append((name, dict(fields)))

    async def done(self) -> None:
        """Wait until every delivery has ended or is a dead letter."""

        async def nothing_left() -> bool:
            return all(_at_rest(stats) for stats in (await self.engine.stats()).values())

        await wait_until_async(nothing_left)

    async def dead(self, queue: str = "default") -> list[DeliveryRow]:
        return await self.engine.scan(queue, "dead")

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of every point of this name, without the payload and what a clock has
        measured."""
        return [
            {key: value for key, value in fields.items() if key not in ("seconds", "payload")}
            for point, fields in self.points
            if point == name
        ]

    def counted(self, name: str, label: str) -> Counter[Any]:
        """Return how often a point was reported, by one of its fields."""
        return Counter(fields[label] for fields in self.told(name))


def _at_rest(stats: QueueStats) -> bool:
    return not (stats.ready or stats.scheduled or stats.leased)


@asynccontextmanager
async def workshop(directory: Path, plugin: Plugin, **options: Any) -> AsyncIterator[Workshop]:
    """A worker that has accepted, with the engine of this process bound."""
    telemetry, catalog = Telemetry(), Catalog.collect({"shop": plugin})
    async with store(directory, telemetry) as socket:
        engine = Embedded(socket, "task.0@7:1")
        await engine.open()
        retirements: list[str] = []
        workplace = Workplace("task.0", 7, catalog, engine, telemetry, Options(**options))
        workplace.retire = lambda _, detail: retirements.append(detail)
        workplace.sender = workplace.loaded_by = SENDER
        names, declared = catalog.listener_names(), catalog.declared()
        binding.bind(engine, telemetry, names, declared=declared, compares=True, sender=SENDER)
        try:
            async with at_work(workplace) as kind:
                shop = Workshop(engine, kind, retirements=retirements, telemetry=telemetry)
                workplace.clock = lambda: now_ms() + shop.ahead
                for name in POINTS:
                    telemetry.subscribe(name, partial(shop.note, name))
                yield shop
        finally:
            await engine.close()
            binding.unbind()


def run_workshop(
    directory: Path, plugin: Plugin, test: Callable[[Workshop], Awaitable[None]], **options: Any
) -> None:
    """Run a test in a workshop."""

    async def run() -> None:
        async with workshop(directory, plugin, **options) as shop:
            await test(shop)

    asyncio.run(run())
