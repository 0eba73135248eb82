"""One generation: all workers started from one configuration and one state of the code."""

import time
from dataclasses import dataclass, field

from skep.config.options.credentials import options_of_workers
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.slot import Limits
from skep.supervisor.processes.zygote import Zygote
from skep.supervisor.rollout.gate import Request
from skep.wire.messages import Boot
from skep.wire.plan import Plan


@dataclass
class Generation:
    """A generation and what it is made of; `plan` is None until the zygote has answered."""

    number: int
    run_id: str
    request: Request
    configuration: Configuration
    zygote: Zygote
    crew: Crew
    started: float = field(default_factory=time.time)

    @property
    def plan(self) -> Plan | None:
        """What its plugins declare."""
        return self.zygote.plan

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds that its plugins declare and this machine does not run."""
        kinds = self.configuration.options.kinds
        return tuple(kind for kind in (self.plan or Plan()).kinds if kind not in kinds)

    def boot(self, slot: str) -> Boot:
        """Return what a child of this generation is told first."""
        kind = slot.partition(".")[0]
        options = options_of_workers(self.configuration.options)
        return Boot(slot, kind, self.number, self.run_id, options.to_json())

    @property
    def limits(self) -> Limits:
        """How long its workers may take for things."""
        options = self.configuration.options
        return Limits(
            # The rollout has the same deadline and says more about it; let it be first.
            boot=options.boot_timeout + 1,
            silence=options.hang_timeout,
            drain=options.drain_timeout,
            task_drain=self.plan.task_drain if self.plan else 0.0,
        )
