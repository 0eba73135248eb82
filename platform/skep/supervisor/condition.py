"""How the platform stands, in a word, and why it is not better."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from skep.supervisor.config.in_force import not_followed
from skep.supervisor.control.scaling import Strength
from skep.supervisor.processes.crew import Crew
from skep.supervisor.rollout.rollouts import Succession

State = Literal["starting", "running", "degraded", "reloading", "drained", "stopping"]


class Condition:
    """What can be seen from the slots. The supervisor sets `stopping`; `config`, which the agent
    has reported last; and `store`, why the store is not well."""

    def __init__(self, succession: Succession, platform: Crew, strength: Strength) -> None:
        self.stopping = False
        self.config: Mapping[str, Any] = {}
        self.store: Sequence[str] = ()
        self._succession = succession
        self._platform = platform
        self._strength = strength

    @property
    def state(self) -> State:
        """The word for it."""
        if self.stopping:
            return "stopping"
        if self._succession.current is None:
            return "starting"
        if self._strength.drained:
            return "drained"
        if self._succession.coming is not None:
            return "reloading"
        return "degraded" if self.reasons() else "running"

    def not_ready(self) -> list[str]:
        """Return the slots that should accept and do not; all is well when there is none."""
        if self.stopping:
            return ["the platform is stopping"]
        current = self._succession.current
        if current is None:
            return ["no generation is in service yet"]
        if self._strength.drained:
            return ["the platform is drained"]
        return [*self._platform.not_ready(), *current.crew.not_ready()]

    def reasons(self) -> list[str]:
        """Return why it is not ready, what keeps happening to its workers, what is wrong with the
        queue, that it serves without having heard the config service, and which namespaces that
        does not give."""
        current = self._succession.current
        crews = [self._platform, *([current.crew] if current else [])]
        troubles = [trouble for crew in crews for trouble in crew.troubles()]
        of_config = [*_deaf(self.config), *not_followed(self.config)]
        return [*self.not_ready(), *troubles, *self.store, *of_config]


def _deaf(config: Mapping[str, Any]) -> list[str]:
    source = config.get("source", "none")
    if not config.get("url") or config.get("last_pull_at") or source in ("none", "remote"):
        return []  # nobody is asked, it was heard, or nothing was started from yet
    return [f"the config service was not heard since the start; what is in force is from: {source}"]
