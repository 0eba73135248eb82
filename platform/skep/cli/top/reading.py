"""One reading of the running platform: the answers to four questions at one moment."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from skep.base.errors import TimedOut
from skep.metrics.names import PREFIX
from skep.wire import control

# How long (seconds) the four answers may take together.
PATIENCE = 10.0

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """What the supervisor answered to `status`, `history`, `ps` and `metrics`.

    `at` is Unix time. `clock` and `processes_clock` are a monotonic clock, in seconds, when the
    metrics and the processes came: a blocked worker delays the metrics and not the processes.
    """

    at: float
    clock: float
    processes_clock: float
    status: Mapping[str, Any]
    operations: list[dict[str, Any]]
    processes: list[dict[str, Any]]
    families: list[dict[str, Any]]

    def series(self, name: str, **labels: str) -> Iterator[tuple[Labels, Any]]:
        """Yield the series of a family that carry these labels; `name` is without the prefix."""
        for own, value in self._by_name.get(PREFIX + name, ()):
            if labels.items() <= own.items():
                yield own, value

    def bounds(self, name: str) -> list[float]:
        """Return the upper bounds of the buckets of a histogram, without +Inf."""
        return self._bounds.get(PREFIX + name, [])

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of the series that carry these labels, None if there are none."""
        found = [float(value) for _, value in self.series(name, **labels)]
        return sum(found) if found else None

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[Labels, Any]]]:
        return {family["name"]: family["series"] for family in self.families}

    @cached_property
    def _bounds(self) -> dict[str, list[float]]:
        return {family["name"]: list(family["bounds"]) for family in self.families}


async def read(control_socket: Path) -> Reading:
    """Ask the supervisor. Raises TimedOut after PATIENCE seconds, else as `control.ask`."""
    try:
        async with asyncio.timeout(PATIENCE):
            status = await control.ask(control_socket, "status")
            operations = await control.ask(control_socket, "history")
            processes = await control.ask(control_socket, "ps")
            listed = time.monotonic()
            families = await control.ask(control_socket, "metrics")
    except TimeoutError as error:
        where = control_socket.parent
        raise TimedOut(f"The platform on {where} did not answer within {PATIENCE:g} s.") from error
    now = time.monotonic()
    return Reading(time.time(), now, listed, status, operations, processes, families)
