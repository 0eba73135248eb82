"""What a handler is told about the run it is in."""

import logging
from dataclasses import dataclass


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
