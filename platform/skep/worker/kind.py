"""The contract of a kind of worker; what implements it is in `kinds/`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from skep.base.telemetry import Telemetry

if TYPE_CHECKING:
    from skep.engine.base import Engine
    from skep.worker.catalog import Catalog


@dataclass
class Workplace:
    """What a worker finds around it, whatever its kind.

    `engine` is open. `options` are the platform's own settings that concern workers, by name.
    """

    slot: str
    generation: int
    catalog: Catalog
    engine: Engine
    telemetry: Telemetry
    options: Mapping[str, Any] = field(default_factory=dict)


class Kind(Protocol):
    """What one kind of worker does. The methods are called once each, in this order, all in the
    worker's one event loop. `drain` may also come before `accept`, or without it."""

    def __init__(self, workplace: Workplace) -> None:
        """Keep the workplace; no side effects."""

    async def prepare(self) -> None:
        """Do all that may fail, accept nothing. An exception refuses the whole generation."""

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> None:
        """Start taking work. `listeners` are bound sockets by name; `handover` is what the worker
        of this slot in the generation before said when it drained (empty if there was none)."""

    async def drain(self, deadline: float) -> Mapping[str, Any]:
        """Take nothing new and finish what there is, until the loop's time `deadline`.

        Returns the handover for the successor in this slot. What is not finished by then is cut off
        by `stop`."""

    async def stop(self) -> None:
        """Let go of everything; the process ends after it."""
