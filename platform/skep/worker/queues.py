"""Which queues a task worker serves, and how fast they may be served."""

from collections.abc import Iterable

from skep.config.queues import parse
from skep.engine.base import Limits


def served_queues(slot: str, own: Iterable[str]) -> tuple[str, ...]:
    """Return what a worker leases from: `task.media.0` from its own queue, the others from all but
    those that have workers of their own.

    All, and not all that are known: so a queue that no task of this generation uses any more is
    served too.
    """
    _, _, rest = slot.partition(".")
    queue = rest.rpartition(".")[0]
    return (queue,) if queue else tuple(f"-{name}" for name in own)


def limits(texts: Iterable[str]) -> dict[str, Limits]:
    """Return the limits of queues as the engine takes them."""
    return {
        name: Limits(
            max_ready=terms.waiting,
            concurrency=terms.concurrency,
            rate=terms.rate,
            period=terms.period,
        )
        for name, terms in parse(texts).items()
    }
