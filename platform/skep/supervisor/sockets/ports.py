"""Which listeners are bound when, and who gets them.

A client that has connected is served, also on a listener that goes away: first no connection can
begin there any more, then the workers accept all that had begun, and only then they stop accepting
and every process closes its copy.
"""

import asyncio
from collections.abc import Callable

from skep.base.errors import ListenError, UsageError
from skep.base.waiting import until
from skep.config.options import endpoints
from skep.config.options.endpoints import admin, served, shared
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import WorkerEnded
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.sockets.inboxes import Inboxes
from skep.supervisor.sockets.listeners import PLATFORM, Listeners
from skep.wire.messages import Go, HandedOver

# How long the handshake of a client that was let in may take, and then the worker that accepts it.
_HANDSHAKE = 0.1
_ACCEPT = 1.0
_OF_SLOTS = {"agent": ["admin"], "configserver": ["config"], "store": ["store"]}


class Ports:
    """The listeners of the platform slots and of the generations.

    `bound` is called after the listeners of a generation were bound. `patient` is whether a
    platform that was killed may still hold some of them for a moment.
    """

    def __init__(
        self,
        listeners: Listeners,
        inboxes: Inboxes,
        generations: Generations,
        children: Children,
        bound: Callable[[], None],
        *,
        patient: bool,
    ) -> None:
        self._listeners = listeners
        self._inboxes = inboxes
        self._generations = generations
        self._bound = bound
        self._patient = patient
        self._leaving: list[int] = []
        self._closing = self._ended = False
        self._parting: set[asyncio.Task[None]] = set()
        # A worker that retires closes its copies in a moment, and the last process to close a
        # listener resets the connections that wait in it, so close ours before.
        children.on(HandedOver, lambda *_: self.close_unused())
        children.events.subscribe(WorkerEnded, self._worker_ended)

    async def bind(self, generation: Generation) -> None:
        """Bind what a generation wants and is not bound yet; the admin port stays as it is.

        Raises ListenError.
        """
        if self._closing:
            raise ListenError("The platform is stopping.")
        options, plan = generation.configuration.options, generation.plan
        if "admin" not in self._listeners.names(PLATFORM):
            try:
                endpoints.check_admin_files(options)
            except UsageError as error:
                raise ListenError(f"The admin port cannot be served. {error}") from error
            await self._listeners.open([admin(options)], patient=self._patient)
        own = plan.endpoints if plan and "web" in options.kinds else ()
        wanted = shared(options, [*served(options), *own])
        await self._listeners.open(wanted, generation.number, patient=self._patient)
        self._inboxes.open(_receiving(generation), generation.number)
        self._bound()

    def go(self, crew: Crew, child: Child) -> None:
        """Send a prepared child its listeners."""
        kind = child.slot.partition(".")[0]
        names = _OF_SLOTS.get(kind, [])
        if kind == "web":
            names = self._listeners.names(child.generation)
        descriptors = self._listeners.descriptors(names, child.generation)
        if kind == "process":
            names = self._inboxes.of(child.slot)
            descriptors = self._inboxes.descriptors(names)
        handover = self._generations.handover(child)
        child.send(Go(names, handover, len(descriptors)), descriptors)
        self._generations.tell_alone(child.slot)

    def _worker_ended(self, _: WorkerEnded) -> None:
        # Soon: its generation may be forgotten with it.
        asyncio.get_running_loop().call_soon(self.close_unused)

    def close_unused(self) -> None:
        """Close what no generation wants that accepts or may accept again."""
        self._listeners.release([*self._living(), *self._leaving])
        # Workers that end need replies until the end.
        self._inboxes.release(generation.number for generation in self._generations.all)

    def part(self, former: Generation, then: Callable[[], None]) -> None:
        """Go on with `then` when all have been accepted who came to where only the `former`
        generation listens."""
        if not self._listeners.shut(self._living()):
            then()
            return

        async def part() -> None:
            await self._empty()
            self._leaving.remove(former.number)
            then()
            self.close_unused()

        self._leaving.append(former.number)  # more than once, if there is more to wait for
        parting = asyncio.create_task(part())
        self._parting.add(parting)
        parting.add_done_callback(self._parting.discard)

    async def close(self) -> None:
        """Accept no new connection; return when all that wait are accepted."""
        self._closing = True
        if self._listeners.shut(()):
            await self._empty()
        self._ended = True

    async def _empty(self) -> None:
        await asyncio.sleep(_HANDSHAKE)
        await until(lambda: not self._listeners.waited_at, _ACCEPT)

    def _living(self) -> list[int]:
        return [] if self._ended else self._generations.living

    def urls(self) -> dict[str, str]:
        """Return the address of each listener, for people."""
        current, coming = self._generations.current, self._generations.coming
        shown = current or (coming.generation if coming else None)
        return self._listeners.urls(shown.number if shown else PLATFORM)


def _receiving(generation: Generation) -> list[str]:
    """Return the names of the processes that have an inbox: those that run, and are not external
    programs."""
    plan = generation.plan
    if plan is None or "process" not in generation.configuration.options.kinds:
        return []
    return [one.name for one in plan.processes if one.enable and not one.command]
