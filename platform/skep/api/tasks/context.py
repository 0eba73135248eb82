"""What a handler knows about the run it is in."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Cancellation:
    """Whether a run has been asked to stop; set by the platform."""

    requested: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of every handler.

    `id` is that of the receipt: the same in all tries of a delivery and in its `finish`, so it can
    keep an effect from happening twice. `attempt` counts from 1 and is `tries` the last time. Lines
    written to `log`, like all others in the handler, carry the id and the attempt. `slot` and
    `generation` say which worker this is.
    """

    id: str
    attempt: int
    tries: int
    log: logging.Logger
    slot: str
    generation: int
    cancellation: Cancellation = field(default_factory=Cancellation)
    note: Callable[[Any], None] = lambda value: None

    def progress(self, value: Any) -> None:
        """Show operators how far this run has come: a number or another short piece of JSON.

        It returns at once; of several in quick succession the last is kept, until the run ends.
        """
        self.note(value)

    def cancelled(self) -> bool:
        """Return whether this run should stop: its timeout is over or it was cancelled.

        The platform cancels a coroutine; a plain function that takes long should ask this.
        """
        return self.cancellation.requested
