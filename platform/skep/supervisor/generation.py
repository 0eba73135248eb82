"""One generation: all workers started from one configuration and one state of the code."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skep.config.options.resolution import options_of_workers
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.slot import SlotTerms, SlotTimeouts, Succession, ordinary
from skep.supervisor.processes.zygote import ZygotePair
from skep.supervisor.request import Outcome, Report, RolloutRequest
from skep.wire.messages import Boot
from skep.wire.plan import Plan, Problem, ProcessPlan

# A custom process that ends within so many seconds waits longer each time before it is started
# again.
_PROCESS_SERVED = 10.0


@dataclass
class Generation:
    """A generation and what it is made of; `plan` is None until the zygote has answered."""

    number: int
    run_id: str
    request: RolloutRequest
    configuration: Configuration
    zygote: ZygotePair
    crew: Crew
    started: float = field(default_factory=time.time)

    @property
    def plan(self) -> Plan | None:
        """What its plugins declare."""
        return self.zygote.plan

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds that its plugins declare and this machine does not run."""
        kinds = self.configuration.options.kinds_here
        return tuple(kind for kind in (self.plan or Plan()).kinds if kind not in kinds)

    @property
    def processes(self) -> tuple[ProcessPlan, ...]:
        """The classes of custom processes that run here."""
        if self.plan is None or "process" not in self.configuration.options.kinds:
            return ()
        return tuple(process for process in self.plan.processes if process.enable)

    def terms(self, slot: str) -> SlotTerms:
        """Return the terms of a slot."""
        process = self.plan.process(slot) if self.plan else None
        if process is None:
            return ordinary(slot)
        return SlotTerms(
            succession=Succession.BESIDE if process.overlap else Succession.AFTER,
            restart=process.restart,
            vital=process.required,
            after=tuple(f"process.{name}" for name in process.after),
            drain=process.stop_timeout,
            served=_PROCESS_SERVED,
        )

    def fill(
        self,
        slots: Iterable[str],
        *,
        released: bool = False,
        whys: Mapping[str, str] | None = None,
    ) -> None:
        """Add these slots to its crew; see `Crew.fill`."""
        self.crew.fill(slots, self.limits, released=released, whys=whys, terms=self.terms)

    def boot(self, slot: str) -> Boot:
        """Return the first message for a child of this generation."""
        kind = slot.partition(".")[0]
        options = options_of_workers(self.configuration.options)
        return Boot(slot, kind, self.number, self.run_id, options.to_json())

    @property
    def limits(self) -> SlotTimeouts:
        """How long its workers may take for things."""
        options = self.configuration.options
        return SlotTimeouts(
            # The rollout has the same deadline and says more about it; let it be first.
            boot=options.boot_timeout + 1,
            silence=options.hang_timeout,
            drain=options.drain_timeout,
            task_drain=self.plan.task_drain if self.plan else 0.0,
        )


def about(
    request: RolloutRequest,
    outcome: Outcome,
    serving: Generation | None,
    problems: tuple[Problem, ...],
    seconds: float,
    written_at: float,
) -> Report:
    """Return the report on a request; `serving` is the generation in service after it."""
    return Report(
        outcome=outcome,
        generation=serving.number if serving else 0,
        cause=request.cause,
        reason=request.reason,
        at=time.time(),
        seconds=seconds,
        written_at=written_at,
        problems=problems,
        release_keys=tuple(serving.configuration.release_keys.items()) if serving else (),
    )
