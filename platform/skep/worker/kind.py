"""The contract of a kind of worker; what implements it is in `kinds/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from skep.base.telemetry import Telemetry
from skep.config.options import Options
from skep.engine.ids import now_ms
from skep.wire.lifecycle import Role
from skep.worker.lifespans import Lifespans
from skep.worker.tls import Tls

if TYPE_CHECKING:
    from skep.engine.base import Engine
    from skep.metrics.instruments import Instruments
    from skep.worker.catalog import Catalog


def _nobody(*_: object) -> None:
    """Tell nobody."""


@dataclass
class Workplace:
    """What a worker finds around it, whatever its kind.

    `engine` is open and `lifespans` are entered before `prepare`. Without `instruments` only
    telemetry tells what happens. `served()` counts a request or task. `retire(reason, detail)` asks
    the supervisor to replace this worker; it goes on until it is told to drain. A kind puts in
    `when_alone` what is to be called when its predecessor in the slot is gone, and in `trouble`
    what returns why it does not work as it should although it serves, or nothing. `clock` is the
    engine's, in ms. `sender` is what its deliveries bear as theirs, `loaded_by` the sender of the
    generation that loaded its code: after a rollback an older one.
    """

    slot: str
    generation: int
    catalog: Catalog
    engine: Engine
    telemetry: Telemetry
    options: Options = field(default_factory=Options)
    instruments: Instruments | None = None
    tls: Tls = field(default_factory=Tls)
    lifespans: Lifespans = field(default_factory=Lifespans)
    served: Callable[[], None] = _nobody
    retire: Callable[[str, str], None] = _nobody
    when_alone: Callable[[], None] = _nobody
    trouble: Callable[[], str] = str
    clock: Callable[[], int] = now_ms
    sender: str = ""
    loaded_by: str = ""


class Kind(Role, Protocol):
    """What one kind of worker does: a life, begun with a workplace. An exception in `prepare`
    refuses the whole generation."""

    def __init__(self, workplace: Workplace) -> None:
        """Keep the workplace; no side effects."""
