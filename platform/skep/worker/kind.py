"""The contract of a kind of worker; what implements it is in `kinds/`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.engine.ids import now_ms
from skep.engine.senders import sender_of
from skep.wire.lifecycle import Role
from skep.worker.loading.lifespans import Lifespans
from skep.worker.loading.tls import Tls

if TYPE_CHECKING:
    from skep.engine.contract import Engine
    from skep.metrics.instruments import Instruments
    from skep.wire.messages import Boot
    from skep.worker.loading.catalog import Catalog


def _nothing(*_: object) -> None: ...


@dataclass
class Workplace:
    """What a worker finds around it, whatever its kind.

    `engine` is open and `lifespans` are entered before `prepare`. Without `instruments` only
    telemetry reports. `served()` counts a request or task. `retire(reason, detail)` asks the
    supervisor to replace this worker, which continues until it is drained. A kind sets `when_alone`
    to what to call when its predecessor in the slot is gone, and `trouble` to what returns why it
    serves only in part, or nothing. `clock` is the engine's, in ms. `sender` marks its deliveries;
    `loaded_by` is the sender of the generation that loaded its code, after a rollback an older one.
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
    served: Callable[[], None] = _nothing
    retire: Callable[[str, str], None] = _nothing
    when_alone: Callable[[], None] = _nothing
    trouble: Callable[[], str] = str
    clock: Callable[[], int] = now_ms
    sender: str = ""
    loaded_by: str = ""

    @classmethod
    def of(cls, boot: Boot, catalog: Catalog, code: str, owner: str) -> Workplace:
        """Return that of the process that `boot` describes; `owner` names it in its leases."""
        options = Options.from_json(boot.options)
        return cls(
            slot=boot.slot,
            generation=boot.generation,
            catalog=catalog,
            engine=Embedded(RunDir(options.data_dir).store_socket, f"{boot.run_id}/{owner}"),
            telemetry=Telemetry(),
            options=options,
            sender=sender_of(boot.run_id, boot.generation, code),
        )

    async def open_engine(self) -> None:
        """Open the engine for `deliver` and `fire` in the code of plugins."""
        await self.engine.open()
        binding.bind(
            self.engine,
            self.telemetry,
            self.catalog.listener_names(),
            declared=self.catalog.declared(),
            sender=self.sender,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What the hooks of this process's own life receive."""
        return {"slot": self.slot, "generation": self.generation, "pid": os.getpid()}


class Kind(Role, Protocol):
    """One kind of worker: a role that begins with a workplace. An exception in `prepare` refuses
    the whole generation."""

    def __init__(self, workplace: Workplace) -> None:
        """Keep the workplace, without side effects."""
