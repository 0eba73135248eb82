"""The platform slots: config server, store and agent; and the nursery, which is in no slot. They
run platform code only, outlive every generation and are never part of a rollout."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from skep.base.telemetry import Telemetry
from skep.config.options.credentials import environment_of_workers, options_of_workers
from skep.config.options.table import Options
from skep.supervisor.processes.census import Census
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.processes.slot import Fact, Limits, State
from skep.supervisor.processes.spawn import spawn
from skep.wire.messages import Accepting, Beat, Boot, Failed, Message, Prepared

_MODULES = {"configserver": "skep.configserver", "store": "skep.store", "agent": "skep.agent"}
# They have nothing of their own to finish: their clients have gone before them.
_LIMITS = Limits(boot=30.0, drain=2.0, stop=2.0)
# The store is silent while it mends a damaged queue, and killed on the way it would begin again.
_LIMITS_OF_STORE = replace(_LIMITS, silence=300.0)


class PlatformSlots:
    """The crew of the platform slots."""

    def __init__(
        self,
        run_id: str,
        environment: Mapping[str, str],
        options: Callable[[], Options],
        census: Census,
        told: Callable[[Child, Message, list[int]], None],
        go: Callable[[Crew, Child], None],
        failed: Callable[[Child], None],
        telemetry: Telemetry,
    ) -> None:
        self.crew = Crew(0, self._launch, go, self._changed, telemetry)
        self._run_id = run_id
        self._environment = environment
        self._options = options
        self._census = census
        self._told = told
        self._failed = failed
        self._telemetry = telemetry
        self.nursery = Nursery(
            environment_of_workers(environment),
            lambda: self._boot("nursery", "nursery"),
            census,
        )

    def fill(self, slot: str, *, released: bool) -> None:
        """Start one; `released` ones listen as soon as they are prepared."""
        limits = _LIMITS_OF_STORE if slot.startswith("store.") else _LIMITS
        self.crew.fill([slot], limits, released=released)

    def told(self, child: Child, message: Message, descriptors: list[int]) -> None:
        """One of them has said something."""
        self._told(child, message, descriptors)
        if self.crew.children.get(child.slot) is not child:
            return
        match message:
            case Failed(problem):
                child.problem = problem
                self._failed(child)
            case Prepared():
                self.crew.feed(child.slot, Fact.PREPARED)
            case Accepting():
                self.crew.feed(child.slot, Fact.ACCEPTING)
            case Beat():
                self.crew.feed(child.slot, Fact.BEAT)

    def ended(self, child: Child) -> None:
        """One of them is gone."""
        self._census.ended(child)
        if self.crew.children.get(child.slot) is child:
            self.crew.ended(child)

    def _launch(self, crew: Crew, slot: str) -> Child:
        kind = slot.partition(".")[0]
        environment = self._environment
        if kind != "agent":
            environment = environment_of_workers(environment)
        pid, ours = spawn(_MODULES[kind], slot, environment)
        child = Child(slot, 0, ours, self.told, self.ended, pid)
        self._census.born(child)
        child.send(self._boot(slot, kind))
        return child

    def _boot(self, slot: str, kind: str) -> Boot:
        options = self._options() if kind == "agent" else options_of_workers(self._options())
        return Boot(slot, kind, 0, self._run_id, options.to_json())

    def _changed(self, crew: Crew, slot: str, state: State) -> None:
        self._telemetry.point("slot.changed", crew=crew, slot=slot, state=state)
