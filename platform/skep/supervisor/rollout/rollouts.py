"""How one generation follows another.

A request is answered in one of three ways: nothing has changed; the workers can take the change as
they are (`live_change.py`); or there has to be a new generation (`execution.py`), which is on
probation for a while (`probation.py`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from skep.base.errors import PlatformError
from skep.supervisor.config.check_command import ConfigChecks
from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.generation import Generation, about
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import MESSAGES, Crew
from skep.supervisor.processes.events import RolloutBegan
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.processes.zygote import ZygotePair
from skep.supervisor.request import KeyChange, Outcome, Report, RolloutRequest, merge
from skep.supervisor.rollout import machine as pure
from skep.supervisor.rollout.decision import (
    Decision,
    Fingerprint,
    can_be_live,
    changes_on,
    choose,
    fingerprint,
    unusable,
)
from skep.supervisor.rollout.execution import Execution, GenerationListeners
from skep.supervisor.rollout.fallback import Fallback
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.live_change import LiveChange
from skep.supervisor.rollout.probation import Watch
from skep.supervisor.scaling.scaler import Scaler
from skep.wire.messages import Accepting, HandedOver, LoadFailed, Message, Planned, Prepared, Retire
from skep.wire.plan import Plan, Problem

T = TypeVar("T")
log = logging.getLogger("skep")


class RolloutOwner(Protocol):
    """What the rollouts need of the supervisor around them."""

    def put_back(self, request: RolloutRequest) -> None:
        """A request that was begun has to wait."""

    def reported(self, request: RolloutRequest, report: Report) -> None:
        """This became of a request."""

    def give_up(self, why: str) -> None:
        """The generation in service cannot be kept up any more."""


class Rollouts:
    """The generations of one platform."""

    def __init__(
        self,
        owner: RolloutOwner,
        generations: Generations,
        configurations: Configurations,
        platform: PlatformSlots,
        listeners: GenerationListeners,
        fallback: Fallback,
    ) -> None:
        self.generations = generations
        self._number = 0
        self._unheld = ""
        self._refusals: dict[Fingerprint, tuple[Problem, ...]] = {}
        self._going: asyncio.Future[None] | None = None
        self._owner = owner
        self._configurations = configurations
        self._platform = platform
        self._listeners = listeners
        self._fallback = fallback
        self._events = platform.children.events
        self.checks = ConfigChecks(
            platform.children, configurations.stage, self._passed_check, self._refuse
        )
        self.scaler = Scaler(lambda: self.generations.current, owner.give_up)
        self.watch = Watch(fallback.held, self._failed_probation)
        for kind in (*MESSAGES, HandedOver, Retire):
            platform.children.on(kind, self._receive)
        # Subscribed here, so that no value of a secret key is shown before its plan is known.
        declare = configurations.declare_secret
        platform.children.on(Planned, lambda _, message: declare(message.plan.secrets))
        platform.children.on(LoadFailed, lambda _, message: declare(message.secrets))

    @property
    def current(self) -> Generation | None:
        """The generation in service."""
        return self.generations.current

    @property
    def coming(self) -> Execution | None:
        """The rollout that is going on."""
        return self.generations.coming

    @property
    def busy(self) -> bool:
        """Whether something goes on whose place a newer request could not take."""
        coming = self.coming
        return self._settling or (coming is not None and coming.is_rollback)

    @property
    def _settling(self) -> bool:
        """Whether something goes on that cannot be given up, and ends by itself."""
        return self._going is not None or (self.coming is not None and not self.coming.replaceable)

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next."""
        times = (self.generations.deadline, self.watch.deadline, self.scaler.deadline)
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: float) -> None:
        """Carry out the deadlines that have passed."""
        self.generations.expire(now)
        self.scaler.expire(now)
        self.watch.look()

    def begin(self, request: RolloutRequest) -> None:
        """Carry out a request; a rollout that is not committed yet gives way to it."""
        request = self._overtake(request)
        try:
            configuration = self._configure(request)
        except PlatformError as error:
            self._report(request, "refused", problems=(unusable(error),))
            return
        if self.current is not None:
            request = replace(request, changes=tuple(changes_on(self.current, configuration)))
        match choose(request, configuration, self.current, self._refusals.keys()):
            case Decision.UNCHANGED:
                self._adopt(request, configuration)
            case Decision.REFUSED:
                self._refuse(request, configuration, *request.problems)
            case Decision.NOTHING:
                known = self._refusals[fingerprint(request, configuration)]
                self._report(request, "refused", problems=known)
            case Decision.LIVE | Decision.ROLLOUT if self.checks.wanted(configuration):
                self.checks.begin(request, configuration)
            case Decision.LIVE if self.current is not None:
                change = LiveChange(request, self.current, configuration)
                work = change.carry_out(self._configurations, self._platform.questions)
                self._finish(work, partial(self._changed_live, change))
            case Decision.ROLLOUT:
                self._start(request, configuration)

    def _overtake(self, request: RolloutRequest) -> RolloutRequest:
        if self.coming is not None:
            request = merge(self.coming.generation.request, request)
            self._abandon(self.coming)
        return self.checks.give_way(request)

    def _passed_check(self, request: RolloutRequest) -> None:
        if self.busy:  # with a rollback that began during the check
            self._owner.put_back(request)
        else:
            self.begin(request)

    def _refuse(
        self, request: RolloutRequest, configuration: Configuration, *problems: Problem
    ) -> None:
        self._refusals[fingerprint(request, configuration)] = problems
        self._report(request, "refused", problems=problems)

    def might_be_live(self, request: RolloutRequest) -> bool:
        """Whether a request will probably need no new worker."""
        if self.current is None or not request.snapshot:
            return False
        try:
            configuration = self._configure(request)
        except PlatformError:
            return False
        return can_be_live(self.current, configuration, request)

    def plan(self, snapshot: str) -> list[KeyChange]:
        """Return what a staged snapshot would change, and how. Raises PlatformError."""
        configuration = self._configurations.load(snapshot)
        return changes_on(self.current, configuration) if self.current else []

    def drain(self) -> None:
        """Let every worker drain. A rollout that can still be given up begins again after it; of
        another the workers drain at its end."""
        coming = self.coming
        if coming is not None and coming.replaceable and not coming.is_rollback:
            self._give_up(coming)
        self.scaler.drain()

    def stop(self) -> None:
        """Let every worker drain and end for good; a generation that is coming is given up."""
        self.watch.end()
        self.checks.end()
        self.scaler.end()
        if self.coming is not None and self.coming.replaceable:
            self._abandon(self.coming)
        for generation in self.generations.all:
            generation.crew.cut_short()
            generation.crew.retire()
        self._sweep()

    # What workers send, and that they end.

    def _receive(self, child: Child, message: Message) -> None:
        generation = self.generations.of(child)
        if generation is None:
            return
        generation.crew.receive(child, message)
        match message:
            case Prepared():
                self.generations.tell(generation, pure.SlotPrepared(child.slot))
            case Accepting():
                self.generations.tell(generation, pure.SlotAccepting(child.slot))
            case HandedOver(state):
                self.generations.handed_over(generation, child.slot, state)
            case Retire():
                self.scaler.asked(child, message)
        self.watch.look()

    def _ended(self, child: Child) -> None:
        self._platform.children.ended(child)
        generation = self.generations.of(child)
        if generation is not None and generation.crew.ended(child):
            self.generations.lost(generation, child)
            if generation is self.current:
                self.watch.ended(generation, child)
            self.watch.look()
            self._sweep()

    # A change that needs no new worker.

    def _changed_live(self, change: LiveChange, failure: Problem | str) -> None:
        if isinstance(failure, Problem):
            self._report(change.request, "refused", change, problems=(failure,))
        elif failure:
            log.info("not without new workers: %s", failure)
            self._start(change.request, change.configuration)
        else:
            self._apply_live(change)

    def _apply_live(self, change: LiveChange) -> None:
        assert self.current is not None
        generation, configuration = self.current, change.configuration
        self.scaler.configured(generation.configuration.options, configuration.options)
        generation.configuration = configuration
        generation.zygote.environment = configuration.environment
        self.scaler.rescale()
        self._report(change.request, "live", change)

    # The beginning of a rollout.

    def _configure(self, request: RolloutRequest) -> Configuration:
        if request.snapshot:
            return self._configurations.load(request.snapshot)
        snapshot = self.current.configuration.snapshot if self.current else None
        return self._configurations.of(snapshot)

    def _adopt(self, request: RolloutRequest, configuration: Configuration) -> None:
        """The same values, perhaps under another release key: then the new name is written down."""
        assert self.current is not None
        if configuration.release_keys != self.current.configuration.release_keys:
            work = self._configurations.apply(configuration)
            self._finish(work, partial(self._adopted, request, configuration))
        else:
            self._report(request, "unchanged")

    def _adopted(
        self, request: RolloutRequest, configuration: Configuration, problem: Problem | None
    ) -> None:
        if problem is not None:
            self._report(request, "refused", problems=(problem,))
        else:
            if self.current is not None:
                self.current.configuration = configuration
            self._report(request, "unchanged", written_at=time.time())

    def _start(self, request: RolloutRequest, configuration: Configuration) -> None:
        self._number += 1
        zygote = ZygotePair(
            self._number,
            configuration.environment,
            self._platform.nursery,
            self._platform.children,
            self,
        )
        generation = self._bear(request, configuration, zygote)
        zygote.start(generation.boot)

    def _bear(
        self, request: RolloutRequest, configuration: Configuration, zygote: ZygotePair
    ) -> Generation:
        def launch(crew: Crew, slot: str) -> Child | None:
            take = self._platform.children.take
            return zygote.fork(generation.boot(slot), take, self._ended)

        crew = Crew(self._number, launch, self._listeners.go, self.scaler.look, self._events)
        generation = Generation(
            self._number, self._platform.run_id, request, configuration, zygote, crew
        )
        self.generations.coming = Execution(
            generation,
            self.current,
            self._listeners,
            self._configurations,
            self._events,
            self._finished,
            self._refused,
            partial(self.generations.occupied, but=generation),
        )
        self._events.publish(RolloutBegan(self._number, request))
        return generation

    # What the zygotes answer.

    def planned(self, zygote: ZygotePair, plan: Plan) -> None:
        if self.coming is None or self.coming.generation.number != zygote.number:
            return  # a newer request has taken its place
        generation = self.coming.generation
        log.debug("generation %d has loaded in %.2f s", generation.number, plan.seconds)
        if left_out := generation.left_out:
            log.info(
                "not run on this machine (PLATFORM_KINDS, PLATFORM_CRON): %s", ", ".join(left_out)
            )
        if plan.unforkable:
            log.warning("workers load one by one, at the price of memory: %s", plan.unforkable)
        if self.current is not None:
            options = generation.configuration.options
            self.scaler.configured(self.current.configuration.options, options)
        self._plan_ready(generation)

    def _plan_ready(self, generation: Generation) -> None:
        slots = self.scaler.wanted(generation)
        terms = {slot: generation.terms(slot) for slot in slots}
        self.generations.tell(generation, pure.PlanReady(slots, terms))

    def denied(self, zygote: ZygotePair, problems: tuple[Problem, ...]) -> None:
        if self.coming is not None and self.coming.generation.number == zygote.number:
            self.coming.feed(pure.Denied(problems))
        else:
            self.bereft(zygote)

    def bereft(self, zygote: ZygotePair) -> None:
        log.error(
            "both zygotes of generation %d are gone and the code on disk is not what it serves: "
            "its workers go on, but one that ends is not replaced before the next rollout",
            zygote.number,
        )

    # The end of a rollout.

    def _finished(self, coming: Execution) -> None:
        former, self._unheld = self.current, ""
        self.generations.current, self.generations.coming = coming.generation, None
        if former is not None:
            self.generations.retiring.append(former)
            self._listeners.part(former, former.crew.retire)
        self.scaler.catch_up()
        back = coming.generation.request.cause == "rollback"
        if not back:  # what has just been rolled back stays refused
            self._refusals.clear()
            self.watch.begin(coming.generation, former, coming.old_unready)
        request = coming.generation.request
        outcome: Outcome = "rolled back" if back else "committed"
        self._report(request, outcome, coming, problems=request.problems)
        self._sweep()

    def _failed_probation(self, reason: str) -> None:
        """The new generation does not hold: put the one before back. That one is not watched, so
        this happens once. What cannot be given up ends first: it may mend it."""
        self._unheld = reason
        if not self._settling:
            self._go_back_if_unheld()

    def _go_back_if_unheld(self) -> None:
        reason, self._unheld = self._unheld, ""
        if not reason or self.current is None:
            return
        bad, former = self.current, self.watch.release()
        log.error("generation %d is rolled back: %s", bad.number, reason)
        problem = Problem("probation", f"Generation {bad.number} was rolled back: {reason}.")
        self._refusals[fingerprint(bad.request, bad.configuration)] = (problem,)
        if former is None or former.plan is None:
            self._fallback.unheld(bad.request, reason)
            return
        if self.coming is not None:
            self._give_up(self.coming)
        self._number += 1
        changes = tuple(changes_on(bad, former.configuration))
        request = RolloutRequest(
            "rollback", problem.message, problems=(problem,), forced=True, changes=changes
        )
        generation = self._bear(request, former.configuration, former.zygote)
        self._plan_ready(generation)

    def _refused(self, coming: Execution) -> None:
        configuration, request = coming.generation.configuration, coming.generation.request
        self._refusals[fingerprint(request, configuration)] = coming.rollout.problems
        self._abandon(coming)
        if coming.committed and self.current is not None:
            work = self._configurations.apply(self.current.configuration)
            self._finish(work, partial(self._undone, coming))
        else:
            self._undone(coming)

    def _undone(self, coming: Execution, problem: Problem | None = None) -> None:
        problems = (*coming.rollout.problems, *((problem,) if problem else ()))
        self._report(coming.generation.request, "refused", coming, problems=problems)
        self._go_back_if_unheld()

    def _finish(self, work: Awaitable[T], then: Callable[[T], None]) -> None:
        """Let nothing else begin until `work` is done; call `then` with its result."""

        async def finish() -> None:
            result = await work
            self._going = None
            then(result)
            self._go_back_if_unheld()

        self._going = asyncio.ensure_future(finish())

    def _abandon(self, coming: Execution) -> None:
        generation = coming.generation
        self.generations.coming = None
        self.generations.retiring.append(generation)
        idle = generation.crew.idle()
        accepted = len(idle) < len(generation.crew.slots)
        generation.crew.kill(idle)
        if accepted:
            self._listeners.part(generation, generation.crew.retire)
        self._sweep()

    def _give_up(self, coming: Execution) -> None:
        self._abandon(coming)
        self._owner.put_back(coming.generation.request)

    def _sweep(self) -> None:
        """Forget generations without a process. The zygote of the former one is kept as long as
        the watch may put it back."""
        self.generations.sweep(kept=self.watch.former)

    def _report(
        self,
        request: RolloutRequest,
        outcome: Outcome,
        took: Execution | LiveChange | None = None,
        problems: tuple[Problem, ...] = (),
        written_at: float = 0.0,
    ) -> None:
        seconds, written_at = (took.seconds, took.written_at) if took else (0.0, written_at)
        report = about(request, outcome, self.current, problems, seconds, written_at)
        self._owner.reported(request, report)
