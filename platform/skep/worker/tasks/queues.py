"""Which queues a task worker serves, how fast, and how long what runs may outlive its worker."""

from collections.abc import Iterable

from skep.api.tasks.policy import CUT_TRIES, Policy
from skep.config.options.queues import QueueTerms, parse
from skep.config.options.table import Options
from skep.engine.base import QueueLimits


def served_queues(slot: str, own: Iterable[str]) -> tuple[str, ...]:
    """Return what a worker leases from: `task.media.0` from its own queue, the others from all but
    those that have workers of their own.

    All, and not all that are known: so a queue that no task of this generation uses any more is
    served too.
    """
    _, _, rest = slot.partition(".")
    queue = rest.rpartition(".")[0]
    return (queue,) if queue else tuple(f"-{name}" for name in own)


def limits(texts: Iterable[str]) -> dict[str, QueueLimits]:
    """Return the limits of queues as the engine takes them."""
    return {
        name: QueueLimits(
            max_ready=terms.waiting,
            concurrency=terms.concurrency,
            rate=terms.rate,
            period=terms.period,
        )
        for name, terms in parse(texts).items()
    }


class Outliving:
    """How long a step may go on when its worker has to go, and how often it may be cut off: as the
    class says, or else the queue, or else the platform."""

    def __init__(self, options: Options) -> None:
        self._queues = parse(options.queues)
        self._drain = options.drain_timeout

    def drain(self, policy: Policy, queue: str) -> float:
        """Return how many seconds it may go on."""
        if policy.drain is not None:
            return policy.drain
        drain = self._queues.get(queue, _SAYS_NOTHING).drain
        return self._drain if drain is None else drain

    def cut_tries(self, policy: Policy, queue: str) -> int:
        """Return the cut-off with which it is given up, counted from 1."""
        return policy.cut_tries or self._queues.get(queue, _SAYS_NOTHING).cuts or CUT_TRIES

    def longest(self, policies: Iterable[Policy]) -> float:
        """Return the longest time that a step of any queue, on any of these terms, may go on."""
        drains = [self._drain, *(policy.drain for policy in policies)]
        drains += [terms.drain for terms in self._queues.values()]
        return max(drain for drain in drains if drain is not None)


_SAYS_NOTHING = QueueTerms("")
