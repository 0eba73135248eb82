"""What the succession of generations needs of the supervisor around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from skep.supervisor.generation import Generation
from skep.supervisor.processes.census import Census
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.report import Report
from skep.supervisor.rollout.gate import Request
from skep.wire.messages import Message


@dataclass(frozen=True)
class Surroundings:
    """Callbacks into the supervisor.

    `put_back` takes a request that was begun and has to wait. `told` is called for every child of a
    generation, before the succession looks at it, and so is the `census`. `bind` makes sure that
    the listeners of a generation are bound. `go` tells a prepared child to listen. `part` calls
    back when nobody is left who came to where only the former generation listens. `reported` takes
    the outcome of each request. `held` is called when a generation has passed its probation,
    `unheld` with its request and the reason when one has not and there is none before it.
    `hopeless` is called when the generation in service cannot be kept up any more.
    """

    run_id: str
    nursery: Nursery
    census: Census
    put_back: Callable[[Request], None]
    told: Callable[[Child, Message, list[int]], None]
    bind: Callable[[Generation], Awaitable[None]]
    go: Callable[[Crew, Child], None]
    part: Callable[[Generation, Callable[[], None]], None]
    reported: Callable[[Request, Report], None]
    held: Callable[[], None]
    unheld: Callable[[Request, str], None]
    hopeless: Callable[[str], None]
