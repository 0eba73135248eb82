"""What a worker finds around it, whatever its kind; the kinds are in `kinds/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from skep.api.callables import binds, written_lifespan
from skep.api.plugin import Plugin
from skep.base.errors import NotPrepared, PluginError, TableError
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.engine.ids import now_ms
from skep.engine.senders import sender_of
from skep.messaging.binding import PostOffice
from skep.messaging.binding import bind as bind_office
from skep.table.binding import Tables, bind
from skep.table.keeper import Keeper
from skep.wire.messages import CronAnswer, CronOrder
from skep.worker.loading.endpoints import Tls

if TYPE_CHECKING:
    from skep.engine.contract import Engine
    from skep.metrics.instruments import Instruments
    from skep.tracing.worker_spans import WorkerSpans
    from skep.wire.messages import Boot
    from skep.worker.loading.catalog import Catalog


class Lifespans:
    """Enters the lifespans of all plugins once in a worker.

    `app` is what a lifespan in Starlette's shape is called with; its `state` is that of
    `request.app`. `state` is what lifespans have yielded: it is in the state of every request.
    """

    def __init__(self) -> None:
        self.app = Starlette()
        self.state: dict[str, Any] = {}
        self._owners: dict[str, str] = {}

    async def enter(self, plugins: Mapping[str, Plugin], around: AsyncExitStack) -> None:
        """Enter them in the order of the plugins; `around` leaves them.

        Raises PluginError if a call gives no async context manager, or if two plugins yield the
        same key, and whatever a lifespan raises.
        """
        for name, plugin in plugins.items():
            if plugin.lifespan is not None:
                await self._enter(name, plugin.lifespan, around)

    async def _enter(self, plugin: str, lifespan: Any, around: AsyncExitStack) -> None:
        made = lifespan() if binds(written_lifespan(lifespan)) else lifespan(self.app)
        if not hasattr(type(made), "__aenter__"):
            kind = type(made)
            raise PluginError(
                plugin,
                f"The lifespan of plugin {plugin} returned an object of the class "
                f"{kind.__module__}.{kind.__qualname__}, which is not an async context manager: "
                "decorate it with @asynccontextmanager.",
            )
        yielded = await around.enter_async_context(made)
        if isinstance(yielded, Mapping):
            self._keep(plugin, yielded)

    def _keep(self, plugin: str, yielded: Mapping[str, Any]) -> None:
        for key in yielded:
            if (owner := self._owners.setdefault(key, plugin)) != plugin:
                raise PluginError(
                    plugin,
                    f"The lifespan of plugin {plugin} yields {key!r} for the state of requests, "
                    f"as that of plugin {owner} does: rename one of them.",
                )
        self.state.update(yielded)


def _nothing(*_: object) -> None: ...


def _no_timer(order: CronOrder) -> CronAnswer:
    return CronAnswer(order.number, refusal="This worker is not the timer.", code="usage")


@dataclass
class Workplace:
    """`engine` is open and `lifespans` are entered before `prepare`. Without `instruments` only
    telemetry reports. `served()` counts a request or task. `retire(reason, detail)` asks the
    supervisor to replace this worker, which continues until it is drained. A kind sets `when_alone`
    to what to call when its predecessor in the slot is gone, `trouble` to what returns why it
    serves only in part, or nothing, and the timer `cron_order` to what obeys operators.
    `replaced()` says, once it drains, whether a new generation has a worker in its slot. `clock` is
    the engine's, in ms. `sender` marks its deliveries; `loaded_by` is the sender of the generation
    that loaded its code, after a rollback an older one. Without `spans` nothing is traced.
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
    cron_order: Callable[[CronOrder], CronAnswer] = _no_timer
    replaced: Callable[[], bool] = bool
    clock: Callable[[], int] = now_ms
    sender: str = ""
    loaded_by: str = ""
    tables: Tables | None = None
    spans: WorkerSpans | None = None

    @classmethod
    def of(cls, boot: Boot, catalog: Catalog, code: str, owner: str) -> Workplace:
        """Return that of the process that `boot` describes; `owner` names it in its leases."""
        options = Options.from_json(boot.options)
        run_dir = RunDir(options.data_dir)
        declared = tuple(catalog.tables.values())
        return cls(
            slot=boot.slot,
            generation=boot.generation,
            catalog=catalog,
            engine=Embedded(run_dir.store_socket, f"{boot.run_id}/{owner}"),
            telemetry=Telemetry(),
            options=options,
            sender=sender_of(boot.run_id, boot.generation, code),
            tables=Tables(run_dir.tables_dir, declared, boot.run_id),
        )

    def open_tables(self) -> Callable[[], None]:
        """Make the tables that the plugins declare; return what closes them. Raises NotPrepared.

        From the first use of a table on they are kept in order by a thread.
        """
        bind(tables := self.tables or Tables(RunDir(self.options.data_dir).tables_dir))
        patience = self.options.probation + self.options.drain_timeout
        keepers: list[Keeper] = []

        def keep() -> None:
            keepers.append(Keeper(tables, patience, self.telemetry))
            keepers[0].start()

        def close() -> None:
            for keeper in keepers:
                keeper.stop()
            tables.close()

        tables.when_opened = keep
        try:
            for table in self.catalog.tables.values():
                table.prepare()
        except TableError as error:
            close()
            raise NotPrepared(str(error)) from error
        return close

    @property
    def inboxes(self) -> Path:
        """The folder of the inboxes of custom processes."""
        return RunDir(self.options.data_dir).inboxes_dir

    def open_messaging(self) -> None:
        """Let the code of plugins send messages to custom processes."""
        declared = frozenset(self.catalog.processes.values())
        bind_office(PostOffice(self.inboxes, self.telemetry, declared))

    async def open_engine(self) -> None:
        """Open the engine for `deliver` and `fire` in the code of plugins."""
        await self.engine.open()
        binding.bind(
            self.engine if self.spans is None else self.spans.engine(self.engine),
            self.telemetry,
            self.catalog.listener_names(),
            declared=self.catalog.declared(),
            sender=self.sender,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What the hooks of this process's own life receive."""
        return {"slot": self.slot, "generation": self.generation, "pid": os.getpid()}
