"""How one generation follows another.

A request is answered in one of three ways: nothing has changed; the workers can take the change as
they are (`live.py`); or there has to be a new generation (`coming.py`), over which a watch is kept
for a while (`watch.py`). What the workers say meanwhile is heard in `hearing.py`.
"""

from dataclasses import replace

from skep.base.errors import PlatformError
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.supervisor.config.check_command import ConfigChecks
from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.slot import State
from skep.supervisor.processes.zygote import Answers, Zygote
from skep.supervisor.report import Outcome, about
from skep.supervisor.rollout import machine as pure
from skep.supervisor.rollout.changes import Effect
from skep.supervisor.rollout.decision import (
    Fingerprint,
    Way,
    can_be_live,
    choose,
    effects_on,
    fingerprint,
    unusable,
)
from skep.supervisor.rollout.execution import Coming, Means
from skep.supervisor.rollout.gate import Request, merge
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.hearing import Hearing
from skep.supervisor.rollout.live_change import Endings, LiveChange, LiveChanges
from skep.supervisor.rollout.surroundings import Surroundings
from skep.supervisor.rollout.watch import Watch
from skep.supervisor.scaling.scaler import Upkeep
from skep.wire.plan import Plan, Problem


class Succession:
    """The generations of one platform."""

    def __init__(
        self, configurations: Configurations, around: Surroundings, telemetry: Telemetry
    ) -> None:
        self.generations = Generations()
        self._number = 0
        self._unheld = ""
        self._refusals: dict[Fingerprint, tuple[Problem, ...]] = {}
        self._configurations = configurations
        self._around = around
        self._telemetry = telemetry
        self._means = Means(
            around.bind,
            configurations.commit,
            around.part,
            self._phased,
            self._finished,
            self._refused,
        )
        self._live = LiveChanges(
            configurations.commit, Endings(self._took, self._objected, self._unchangeable)
        )
        self.checks = ConfigChecks(configurations.stage, self._passed_check, self._failed_check)
        self.upkeep = Upkeep(lambda: self.generations.current, around.hopeless, telemetry)
        self._watch = Watch(around.held, self._failed_probation)
        self._hearing = Hearing(self.generations, around, self._live, self.upkeep, self._watch)

    @property
    def current(self) -> Generation | None:
        """The generation in service."""
        return self.generations.current

    @property
    def coming(self) -> Coming | None:
        """The generation that is to be."""
        return self.generations.coming

    @property
    def options(self) -> Options:
        """The options in force; before there are any, the defaults."""
        return self.current.configuration.options if self.current else Options()

    @property
    def busy(self) -> bool:
        """Whether something goes on whose place a newer request could not take."""
        coming = self.coming
        return self._settling or (coming is not None and coming.is_rollback)

    @property
    def _settling(self) -> bool:
        """Whether something goes on that cannot be given up, and ends by itself."""
        return self._live.busy or (self.coming is not None and not self.coming.replaceable)

    @property
    def on_probation(self) -> bool:
        """Whether the current generation is still being watched."""
        return self._watch.on

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next."""
        times = (self.generations.deadline, self._watch.deadline, self.upkeep.deadline)
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: float) -> None:
        """Tell whoever has waited long enough."""
        self.generations.expire(now)
        self.upkeep.expire(now)
        self._watch.look()

    def begin(self, request: Request) -> None:
        """Carry out a request; a rollout that is not committed yet gives way to it."""
        request = self._overtake(request)
        try:
            configuration = self._configure(request)
        except PlatformError as error:
            self._report(request, "refused", problems=(unusable(error),))
            return
        if self.current is not None:
            request = replace(request, changes=tuple(effects_on(self.current, configuration)))
        match choose(request, configuration, self.current, self._refusals.keys()):
            case Way.UNCHANGED:
                self._adopt(request, configuration)
            case Way.REFUSED:
                self._refuse(request, configuration, request.problems)
            case Way.NOTHING:
                known = self._refusals[fingerprint(request, configuration)]
                self._report(request, "refused", problems=known)
            case Way.LIVE | Way.ROLLOUT if self.checks.wanted(configuration):
                self.checks.begin(request, configuration)
            case Way.LIVE if self.current is not None:
                self._live.begin(request, self.current, configuration)
            case Way.ROLLOUT:
                self._start(request, configuration)

    def _overtake(self, request: Request) -> Request:
        """Give up what is on its way; return one request for both."""
        if self.coming is not None:
            request = merge(self.coming.generation.request, request)
            self._abandon(self.coming)
        return self.checks.give_way(request)

    def _passed_check(self, request: Request) -> None:
        if self.busy:  # with a rollback, which began meanwhile
            self._around.put_back(request)
        else:
            self.begin(request)

    def _failed_check(self, request: Request, configuration: Configuration, why: Problem) -> None:
        self._refuse(request, configuration, (why,))

    def _refuse(
        self, request: Request, configuration: Configuration, problems: tuple[Problem, ...]
    ) -> None:
        """Refuse a combination before anything was begun; it is refused from now on."""
        self._refusals[fingerprint(request, configuration)] = problems
        self._report(request, "refused", problems=problems)

    def might_be_live(self, request: Request) -> bool:
        """Whether a request will probably need no new worker."""
        if self.current is None or not request.snapshot:
            return False
        try:
            configuration = self._configure(request)
        except PlatformError:
            return False
        return can_be_live(self.current, configuration, request)

    def plan(self, snapshot: str) -> list[Effect]:
        """Return what a staged snapshot would change, and how. Raises PlatformError."""
        configuration = self._configurations.load(snapshot)
        return effects_on(self.current, configuration) if self.current else []

    def drain(self) -> None:
        """Let every worker drain. A rollout that can still be given up begins again after it; of
        another the workers drain at its end."""
        coming = self.coming
        if coming is not None and coming.replaceable and not coming.is_rollback:
            self._give_up(coming)
        self.upkeep.drain()

    def stop(self) -> None:
        """Let every worker drain and end for good; a generation that is coming is given up."""
        self._watch.end()
        self.checks.end()
        self.upkeep.end()
        if self.coming is not None and self.coming.replaceable:
            self._abandon(self.coming)
        for generation in self.generations.all:
            generation.crew.cut_short()
            generation.crew.retire()
        self._sweep()

    def handover(self, child: Child) -> dict[str, object]:
        """Return what the one before this child in its slot left for it."""
        if self.coming is not None and self.coming.generation.number == child.generation:
            return self.coming.handovers.pop(child.slot, {})
        return {}

    # A change that needs no new worker.

    def _objected(self, change: LiveChange, objection: str) -> None:
        self._telemetry.point("live.objected", objection=objection)
        self._start(change.request, change.configuration)
        self._go_back_if_unheld()

    def _unchangeable(self, change: LiveChange, problem: Problem) -> None:
        self._report(change.request, "refused", change, problems=(problem,))
        self._go_back_if_unheld()

    def _took(self, change: LiveChange) -> None:
        """The current generation has another configuration from now on."""
        assert self.current is not None
        generation, configuration = self.current, change.configuration
        self.upkeep.configured(generation.configuration.options, configuration.options)
        generation.configuration = configuration
        generation.zygote.environment = configuration.environment
        self.upkeep.rescale("scale")
        self._report(change.request, "live", change)
        self._go_back_if_unheld()

    # The beginning of a rollout.

    def _configure(self, request: Request) -> Configuration:
        if request.snapshot:
            return self._configurations.load(request.snapshot)
        snapshot = self.current.configuration.snapshot if self.current else None
        return self._configurations.of(snapshot)

    def _adopt(self, request: Request, configuration: Configuration) -> None:
        """The same values, perhaps under another release key: then the new name is written down."""
        assert self.current is not None
        if configuration.release_keys != self.current.configuration.release_keys:
            if problems := self._commit(configuration):
                self._report(request, "refused", problems=problems)
                return
            self.current.configuration = configuration
        self._report(request, "unchanged")

    def _start(self, request: Request, configuration: Configuration) -> None:
        self._number += 1
        zygote = Zygote(
            self._number,
            configuration.environment,
            self._around.nursery,
            self._around.census,
            Answers(
                planned=lambda plan: self._planned(generation, plan),
                refused=lambda problems: self._denied(generation, problems),
                changed=self._live.answered,
                declared=self._configurations.declare_secret,
                lost=lambda: self._bereft(generation),
            ),
        )
        generation = self._bear(request, configuration, zygote)
        zygote.start(generation.boot)

    def _bear(self, request: Request, configuration: Configuration, zygote: Zygote) -> Generation:
        """Make the generation that is coming, from this zygote."""
        crew = Crew(self._number, self._launch, self._around.go, self._changed, self._telemetry)
        generation = Generation(
            self._number, self._around.run_id, request, configuration, zygote, crew
        )
        self.generations.coming = Coming(generation, self.current, self._means)
        self._telemetry.point("rollout.began", generation=self._number, request=request)
        return generation

    def _launch(self, crew: Crew, slot: str) -> Child | None:
        if (generation := self.generations.with_crew(crew)) is None:
            return None
        return generation.zygote.fork(
            generation.boot(slot), self._hearing.told, self._hearing.ended
        )

    def _changed(self, crew: Crew, slot: str, state: State) -> None:
        self._telemetry.point("slot.changed", crew=crew, slot=slot, state=state)
        self.upkeep.look(crew)

    def _planned(self, generation: Generation, plan: Plan) -> None:
        self._telemetry.point(
            "generation.planned",
            generation=generation.number,
            plan=plan,
            left_out=generation.left_out,
        )
        if self.current is not None:
            options = generation.configuration.options
            self.upkeep.configured(self.current.configuration.options, options)
        self.generations.tell(generation, pure.Planned(self.upkeep.wanted(generation, plan)))

    def _denied(self, generation: Generation, problems: tuple[Problem, ...]) -> None:
        if self.coming is not None and self.coming.generation is generation:
            self.coming.feed(pure.Denied(problems))
        else:
            self._bereft(generation)

    def _bereft(self, generation: Generation) -> None:
        """Both zygotes are gone and the disk holds other code: the workers live, but none that
        ends can be replaced before the next rollout."""
        self._telemetry.point("generation.bereft", generation=generation.number)

    def _phased(self, coming: Coming) -> None:
        self._telemetry.point(
            "rollout.phase",
            request=coming.generation.request,
            generation=coming.generation.number,
            phase=coming.rollout.phase.value,
        )

    # The end of a rollout.

    def _finished(self, coming: Coming) -> None:
        former, self._unheld = self.current, ""
        self.generations.current, self.generations.coming = coming.generation, None
        if former is not None:
            self.generations.retiring.append(former)
            self._around.part(former, former.crew.retire)
        self.upkeep.catch_up()
        back = coming.generation.request.cause == "rollback"
        if not back:  # what has just been rolled back stays refused
            self._refusals.clear()
            self._watch.begin(coming.generation, former, coming.old_unready)
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
        bad, former = self.current, self._watch.release()
        self._telemetry.point("probation.failed", generation=bad.number, reason=reason)
        problem = Problem("probation", f"Generation {bad.number} was rolled back: {reason}.")
        self._refusals[fingerprint(bad.request, bad.configuration)] = (problem,)
        if former is None or former.plan is None:
            self._around.unheld(bad.request, reason)
            return
        if self.coming is not None:
            self._give_up(self.coming)
        self._number += 1
        changes = tuple(effects_on(bad, former.configuration))
        request = Request(
            "rollback", problem.message, problems=(problem,), forced=True, changes=changes
        )
        generation = self._bear(request, former.configuration, former.zygote)
        self.generations.tell(generation, pure.Planned(self.upkeep.wanted(generation, former.plan)))

    def _refused(self, coming: Coming) -> None:
        configuration, request = coming.generation.configuration, coming.generation.request
        self._refusals[fingerprint(request, configuration)] = coming.rollout.problems
        self._abandon(coming)
        problems = coming.rollout.problems
        if coming.committed and self.current is not None:
            problems = (*problems, *self._commit(self.current.configuration))
        self._report(request, "refused", coming, problems=problems)
        self._go_back_if_unheld()

    def _commit(self, configuration: Configuration) -> tuple[Problem, ...]:
        """Write a configuration to the disk; return why that failed, if it did."""
        try:
            self._configurations.commit(configuration)
        except Exception as error:  # noqa: BLE001 - the client that waits for a report gets one
            return (Problem("commit", str(error) or repr(error)),)
        return ()

    def _abandon(self, coming: Coming) -> None:
        """Do away with the generation that is coming; its workers end what they have accepted."""
        generation = coming.generation
        self.generations.coming = None
        self.generations.retiring.append(generation)
        idle = generation.crew.idle()
        accepted = len(idle) < len(generation.crew.slots)
        generation.crew.kill(idle)
        if accepted:
            self._around.part(generation, generation.crew.retire)
        self._sweep()

    def _give_up(self, coming: Coming) -> None:
        """Do away with the generation that is coming; its request begins again later."""
        self._abandon(coming)
        self._around.put_back(coming.generation.request)

    def _sweep(self) -> None:
        """Forget the generations of which nothing lives. The zygote of the former one is kept as
        long as the watch may put it back."""
        self.generations.sweep(kept=self._watch.former)

    def _report(
        self,
        request: Request,
        outcome: Outcome,
        took: Coming | LiveChange | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        seconds, written_at = (took.seconds, took.written_at) if took else (0.0, 0.0)
        report = about(request, outcome, self.current, problems, seconds, written_at)
        self._around.reported(request, report)
