"""One rollout: carries out what `machine.step` orders.

Nothing in here decides: it feeds events to the pure machine and obeys its orders.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from skep.base.errors import PlatformError
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events, PhaseEntered
from skep.supervisor.processes.slot import Succession, group_of
from skep.supervisor.rollout import machine as pure
from skep.supervisor.rollout.machine import Act, Order, RolloutPhase
from skep.wire.plan import Problem


class GenerationListeners(Protocol):
    """What a rollout needs of the listeners of the platform."""

    async def bind(self, generation: Generation) -> None:
        """Bind what a generation wants and is not bound yet. Raises PlatformError."""

    def go(self, crew: Crew, child: Child) -> None:
        """Send a prepared child its listeners."""

    def part(self, former: Generation, then: Callable[[], None]) -> None:
        """Call `then` when every client that came to where only `former` listens is accepted."""


@dataclass(frozen=True)
class FirstGenerationPrepared:
    """The workers of the first generation are prepared. They accept when all of `before` has been
    awaited; a subscriber adds to it."""

    generation: Generation
    before: list[Callable[[], Awaitable[object]]] = field(default_factory=list)


class Execution:
    """One rollout. `old` is the generation in service, None at the first start; `old_unready` are
    its groups that had no ready worker when the rollout began. `occupied(slot)` says whether a
    worker of another generation is in a slot.

    `finished` is called when the new generation is in service, `refused` when it does not come up.
    """

    def __init__(
        self,
        generation: Generation,
        old: Generation | None,
        listeners: GenerationListeners,
        configurations: Configurations,
        events: Events,
        finished: Callable[["Execution"], None],
        refused: Callable[["Execution"], None],
        occupied: Callable[[str], bool] = lambda slot: False,
    ) -> None:
        self.generation = generation
        self.old = old
        ready = old.crew.readiness() if old is not None else {}
        self.old_unready = frozenset(kind for kind, is_so in ready.items() if not is_so)
        self.committed = False
        self.written_at = 0.0
        self.started = time.monotonic()
        self.handovers: dict[str, dict[str, object]] = {}
        self._listeners = listeners
        self._configurations = configurations
        self._events = events
        self._finished = finished
        self._refused = refused
        self._occupied = occupied
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Future[None]] = set()
        boot = generation.configuration.options.boot_timeout
        self.rollout = pure.begin(boot, generation.limits.go, self._loop.time())

    @property
    def replaceable(self) -> bool:
        """Whether it can be given up without loss."""
        return self.rollout.phase in (RolloutPhase.PLANNING, RolloutPhase.PREPARING)

    @property
    def is_rollback(self) -> bool:
        """Whether it goes back to the generation before."""
        return self.generation.request.cause == "rollback"

    @property
    def replaces(self) -> bool:
        """Whether the old generation accepts nothing new any more."""
        return self.rollout.phase in (RolloutPhase.HANDING_OVER, RolloutPhase.FINISHED)

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self.started

    def feed(self, fact: pure.Fact) -> None:
        """Feed a fact to the machine and obey its orders."""
        before = self.rollout.phase
        self.rollout, orders = pure.step(self.rollout, fact, self._loop.time())
        if self.rollout.phase is not before:
            number, request = self.generation.number, self.generation.request
            self._events.publish(PhaseEntered(number, request, self.rollout.phase.value))
        for order in orders:
            self._obey(order)

    def expire(self, now: float) -> None:
        """Feed `Late` to the machine when its deadline has passed."""
        if self.rollout.deadline is not None and self.rollout.deadline <= now:
            self.feed(pure.Late())

    def handed_over(self, slot: str, state: dict[str, object]) -> None:
        """The old worker in a slot has stopped accepting; `state` is for its successor."""
        self.handovers.setdefault(slot, state)
        self.feed(pure.SlotHandedOver(slot))

    def _obey(self, order: Order) -> None:
        match order.act:
            case Act.FORK:
                self._soon(self._fork(order.slots))
            case Act.COMMIT:
                self.generation.crew.keep(self.rollout.slots)
                self._soon(self._commit())
            case Act.RELEASE:
                self.generation.crew.release(order.slots)
            case Act.HAND_OVER:
                self._hand_over(order.slots)
            case Act.FINISH:
                self._finished(self)
            case Act.REFUSE:
                self._refused(self)
            case Act.CUT if self.old is not None:
                self.old.crew.kill(order.slots)
            case Act.RETIRE if self.old is not None:
                self._listeners.part(self.old, partial(self._retire, self.old.crew))

    def _retire(self, old: Crew) -> None:
        """Retire the old workers of all kinds that overlap; a custom process whose class is gone
        ends after them."""
        kept = set(self.rollout.singletons)
        groups = {group_of(slot) for slot in self.rollout.slots}
        ending = [
            slot
            for slot in old.slots
            if slot not in kept and (group_of(slot) in groups or not slot.startswith("process."))
        ]
        old.retire(ending, self.rollout.slots)

    def _hand_over(self, slots: tuple[str, ...]) -> None:
        for slot in slots:
            if self.old is not None:
                # Also one that is empty, and would be filled again.
                self.old.crew.retire([slot], self.rollout.slots)
            if not self._is_held(slot):
                self.feed(pure.SlotHandedOver(slot))

    def _is_held(self, slot: str) -> bool:
        """Whether an old worker keeps the new one from going."""
        if self.rollout.of(slot).succession is Succession.AFTER:
            return self._occupied(slot)
        return self.old is not None and slot in self.old.crew.children

    async def _fork(self, slots: tuple[str, ...]) -> None:
        try:
            await self._listeners.bind(self.generation)
        except PlatformError as error:
            self.feed(pure.Denied((Problem("listen", str(error)),)))
        else:
            if not self.rollout.over:
                self.generation.fill(slots)
                self.feed(pure.Ordered())

    async def _commit(self) -> None:
        problem = await self._configurations.apply(self.generation.configuration)
        if problem is not None:
            self.feed(pure.Denied((problem,)))
        else:
            self.committed, self.written_at = True, time.time()
            if self.old is None:
                prepared = FirstGenerationPrepared(self.generation)
                self._events.publish(prepared)
                await asyncio.gather(*(wait() for wait in prepared.before))
            self.feed(pure.Committed())

    def _soon(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
