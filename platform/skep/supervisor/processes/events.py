"""What happens in the supervisor: published once, received by all who subscribed to the type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from skep.supervisor.processes.child import Child
from skep.supervisor.processes.slot import SlotOrder, SlotState
from skep.supervisor.request import Report, RolloutRequest

E = TypeVar("E")


class Events:
    """The subscriptions, by type of event."""

    def __init__(self) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = {}

    def subscribe(self, kind: type[E], subscriber: Callable[[E], None]) -> None:
        """Call `subscriber` with every event of this type, in order of subscription."""
        self._subscribers.setdefault(kind, []).append(subscriber)

    def publish(self, event: object) -> None:
        """Call the subscribers. An exception of a subscriber propagates."""
        for subscriber in self._subscribers.get(type(event), ()):
            subscriber(event)


@dataclass(frozen=True)
class WorkerStarted:
    """The order to start it was given; `again` after a crash, `why` for the metrics."""

    child: Child
    again: bool
    why: str


@dataclass(frozen=True)
class WorkerEnded:
    """A child is gone; `stopping` says that the whole platform ends."""

    child: Child
    stopping: bool


@dataclass(frozen=True)
class WorkerStuck:
    """It is late, and is ended by force."""

    child: Child
    order: SlotOrder


@dataclass(frozen=True)
class SlotChanged:
    """A slot has another state; `name` is that of its worker."""

    name: str
    state: SlotState


@dataclass(frozen=True)
class RolloutBegan:
    """The zygote of a new generation starts, or a generation is put back."""

    generation: int
    request: RolloutRequest


@dataclass(frozen=True)
class PhaseEntered:
    """The rollout that is going on has entered a phase."""

    generation: int
    request: RolloutRequest
    phase: str


@dataclass(frozen=True)
class RolloutReported:
    """What became of a request is known."""

    request: RolloutRequest
    report: Report


@dataclass(frozen=True)
class PlatformServing:
    """The first generation is in service at these addresses."""

    urls: Mapping[str, str]


@dataclass(frozen=True)
class PlatformStopping:
    """The platform stops, or restarts."""

    restart: bool
