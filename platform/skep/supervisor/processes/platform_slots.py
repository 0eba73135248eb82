"""The platform slots: config server, store, agent and schedule; and the nursery, which is in no
slot. They run platform code only, outlive every generation and are never part of a rollout."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from skep.config.options.resolution import environment_of_workers, options_of_workers
from skep.config.options.table import Options
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import MESSAGES, Crew
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.processes.questions import Questions
from skep.supervisor.processes.slot import SlotTimeouts
from skep.supervisor.processes.spawn import spawn
from skep.wire.messages import Boot, Message

_MODULES = {
    "configserver": "skep.configserver",
    "store": "skep.store",
    "agent": "skep.agent",
    "schedule": "skep.schedule",
}
# They have nothing of their own to finish: their clients have gone before them.
_LIMITS = SlotTimeouts(boot=30.0, drain=2.0, stop=2.0)
# The schedule's commands get 5 s between SIGTERM and SIGKILL.
_STOP_OF_SCHEDULE = 8.0
# The store is silent while it mends a damaged queue, and killed on the way it would begin again.
_LIMITS_OF_STORE = replace(_LIMITS, silence=300.0)


class PlatformSlots:
    """The crew of the platform slots, and their children; `go` sends a child its listeners."""

    def __init__(
        self,
        run_id: str,
        environment: Mapping[str, str],
        options: Options,
        children: Children,
        go: Callable[[Crew, Child], None],
    ) -> None:
        self.run_id = run_id
        self.children = children
        self.questions = Questions(children)
        self.crew = Crew(0, self._launch, go, lambda crew: None, children.events)
        for kind in MESSAGES:
            children.on(kind, self._receive)
        self._environment = environment
        self.options = options
        self.nursery = Nursery(
            environment_of_workers(environment),
            lambda: self._boot("nursery", "nursery"),
            children,
        )

    def fill(self, slot: str, *, released: bool) -> None:
        """Start one; `released` ones listen as soon as they are prepared."""
        limits = _LIMITS_OF_STORE if slot.startswith("store.") else _LIMITS
        if slot.startswith("schedule."):  # its commands may need as long as tasks do
            limits = replace(_LIMITS, drain=self.options.drain_timeout, stop=_STOP_OF_SCHEDULE)
        self.crew.fill([slot], limits, released=released)

    def _receive(self, child: Child, message: Message) -> None:
        if self.crew.children.get(child.slot) is child:
            self.crew.receive(child, message)

    def _ended(self, child: Child) -> None:
        self.children.ended(child)
        if self.crew.children.get(child.slot) is child:
            self.crew.ended(child)

    def _launch(self, crew: Crew, slot: str) -> Child:
        kind = slot.partition(".")[0]
        environment = self._environment
        if kind != "agent":
            environment = environment_of_workers(environment)
        pid, ours = spawn(_MODULES[kind], slot, environment)
        child = Child(slot, 0, ours, self.children.take, self._ended, pid)
        self.children.born(child)
        child.send(self._boot(slot, kind))
        return child

    def _boot(self, slot: str, kind: str) -> Boot:
        options = self.options if kind == "agent" else options_of_workers(self.options)
        return Boot(slot, kind, 0, self.run_id, options.to_json())
