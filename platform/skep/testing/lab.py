"""What every lab has: an engine, one plugin or several, and a memory of what was delivered."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from skep.api.plugin import Plugin
from skep.api.processes.process import Process
from skep.api.tasks.decorators import FunctionTask
from skep.api.tasks.event import Event
from skep.api.tasks.task import Task
from skep.api.worker import Worker
from skep.base.telemetry import Telemetry
from skep.config.env.settings import declare
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.contract import DeliveryRow, Engine, Envelope, Outcome
from skep.engine.headers import LISTENER
from skep.engine.ids import clock_ms
from skep.table.binding import Tables
from skep.table.binding import bind as bind_tables
from skep.testing.processes import LabProcesses
from skep.testing.site import LabSite
from skep.worker.http.app import Application
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Lifespans

T = TypeVar("T", bound=Task)
E = TypeVar("E", bound=Event)

Plugins = Plugin | Mapping[str, Plugin]


class Lab:
    """A place where plugins can be tried.

    `engine` is where deliveries wait, `client` an HTTP client of the plugins' routes.
    """

    client: httpx.AsyncClient

    def __init__(self, plugins: Plugins, engine: Engine) -> None:
        found = {"plugin": plugins} if isinstance(plugins, Plugin) else plugins
        self.catalog = Catalog.collect(found)
        self.telemetry = Telemetry()
        self.engine = engine
        self._put: list[Envelope] = []
        self._fired: list[Event] = []
        self._dead_are_expected = False
        self.telemetry.subscribe(
            "event.published", lambda point: self._fired.append(point["payload"])
        )

    # -- questions -------------------------------------------------------------------------------

    def delivered(self, task: type[T] | FunctionTask[...], **fields: Any) -> list[T]:
        """Return the tasks of this class that were delivered, those with these fields."""
        cls = cast(type[T], task.cls if isinstance(task, FunctionTask) else task)
        made = [
            cls.read(envelope.body)
            for envelope in self._put
            if envelope.name == cls.registered_name() and LISTENER not in envelope.headers
        ]
        return [one for one in made if _has(one, fields)]

    def fired(self, event: type[E], **fields: Any) -> list[E]:
        """Return the events of this class that were fired, those with these fields."""
        return [one for one in self._fired if isinstance(one, event) and _has(one, fields)]

    def assert_delivered(
        self, task: type[Task] | FunctionTask[...], *, times: int | None = None, **fields: Any
    ) -> None:
        """Fail unless such a task was delivered; `times` says how often, or it is at least once."""
        name = (task.cls if isinstance(task, FunctionTask) else task).registered_name()
        _expect(name, "delivered", fields, times, partial(self.delivered, task))

    def assert_fired(self, event: type[Event], *, times: int | None = None, **fields: Any) -> None:
        """Fail unless such an event was fired; `times` says how often, or it is at least once."""
        _expect(event.registered_name(), "fired", fields, times, partial(self.fired, event))

    async def dead(self) -> list[DeliveryRow]:
        """Return the dead letters. If it is not called, they fail the test when the lab closes."""
        self._dead_are_expected = True
        return await self._dead()

    async def _dead(self) -> list[DeliveryRow]:
        queues = await self.engine.stats()
        return [row for queue in queues for row in await self.engine.scan(queue, "dead")]

    # -- processes -------------------------------------------------------------------------------

    def process(self, cls: type[Process]) -> AbstractAsyncContextManager[None]:
        """Run a custom process in this block, which can send to it as on a platform; several blocks
        of one class share its messages.

        Raises AssertionError at the end of the block if the process has failed, or does not end.
        """
        return self._processes.run(cls)

    # -- opening and closing ---------------------------------------------------------------------

    @asynccontextmanager
    async def opened(
        self,
        clock: Callable[[], float] = clock_ms,
        after_put: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncIterator[None]:
        """Be, in this block, the worker `task.0` of generation 1 with an open engine; the plugins'
        lifespans are entered."""
        await self.engine.open()
        recorder = cast(Engine, _Recorder(self.engine, self._put, after_put))
        names, declared = self.catalog.listener_names(), self.catalog.declared()
        binding.bind(recorder, self.telemetry, names, clock, declared, compares=True)
        settings = declare(s for plugin in self.catalog.plugins.values() for s in plugin.settings)
        folder = tempfile.TemporaryDirectory(prefix="skep-lab-")
        tables = Tables(Path(folder.name), tuple(self.catalog.tables.values()))
        tables_before = bind_tables(tables)
        self._processes = LabProcesses(Path(folder.name), self.catalog, self.engine, self.telemetry)
        worker, Worker._current = Worker._current, None
        Worker.become("task.0", 1)
        lifespans = Lifespans()
        application = Application(self.catalog.plugins, Options(), lifespans.app.state)
        transport = httpx.ASGITransport(LabSite(application.app, lifespans.state))
        try:
            async with AsyncExitStack() as around:
                self.client = await around.enter_async_context(
                    httpx.AsyncClient(transport=transport, base_url="http://lab")
                )
                await lifespans.enter(self.catalog.plugins, around)
                for mounted in application.mounted:
                    await around.enter_async_context(mounted.lifespan())
                yield
                await self._complain()
        finally:
            Worker._current = worker
            declare(settings)
            binding.unbind()
            bind_tables(tables_before)
            tables.close()
            self._processes.close()
            folder.cleanup()
            await self.engine.close()

    async def _complain(self) -> None:
        if not self._dead_are_expected and (letters := await self._dead()):
            texts = "\n".join(f"{one.envelope.name}: {one.reason}\n{one.error}" for one in letters)
            raise AssertionError(f"There are dead letters that no `lab.dead()` asked for:\n{texts}")


class _Recorder:
    """An engine that remembers what it was given."""

    def __init__(
        self,
        engine: Engine,
        put: list[Envelope],
        after_put: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._engine = engine
        self._put = put
        self._after_put = after_put

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        outcomes = await self._engine.put(envelopes)
        self._put += [
            envelope
            for envelope, outcome in zip(envelopes, outcomes, strict=True)
            if not outcome.duplicate
        ]
        if self._after_put is not None:
            await self._after_put()
        return outcomes


def _has(payload: Task | Event, fields: Mapping[str, Any]) -> bool:
    return all(getattr(payload, name) == value for name, value in fields.items())


def _expect(
    name: str,
    what: str,
    fields: Mapping[str, Any],
    times: int | None,
    remembered: Callable[..., Sequence[object]],
) -> None:
    found = remembered(**fields)
    if len(found) == times or (times is None and found):
        return
    wanted = ", ".join(f"{field}={value!r}" for field, value in fields.items())
    often = "" if times is None else f" {times} times, but {len(found)}"
    others = "\n".join(f"  {one!r}" for one in remembered()) or "  nothing"
    raise AssertionError(f"{name}({wanted}) was not {what}{often}. Of it was {what}:\n{others}")
