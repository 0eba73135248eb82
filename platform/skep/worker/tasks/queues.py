"""The queues of a task worker: which it serves, how fast and how full they are, and how long a step
may outlive its worker."""

from collections.abc import Iterable

from skep.api.tasks.policy import CUT_TRIES, Policy, policy_of
from skep.config.options.queues import QueueTerms, parse
from skep.config.options.table import Options
from skep.engine.contract import CountedStep, QueueLimits
from skep.worker.loading.catalog import Catalog


def served_queues(slot: str, own: Iterable[str]) -> tuple[str, ...]:
    """Return the queues that a worker leases from: `task.media.0` from its own, the others from all
    except those that have workers of their own.

    From all, not only known ones, so that a queue is served that no task of this generation uses
    any more.
    """
    _, _, rest = slot.partition(".")
    queue = rest.rpartition(".")[0]
    return (queue,) if queue else tuple(f"-{name}" for name in own)


def limits(texts: Iterable[str]) -> dict[str, QueueLimits]:
    return {
        name: QueueLimits(
            max_ready=terms.waiting,
            concurrency=terms.concurrency,
            rate=terms.rate,
            period=terms.period,
        )
        for name, terms in parse(texts).items()
    }


_SAYS_NOTHING = QueueTerms("")


class CutOffTerms:
    """How long a step may continue when its worker has to go, and how often it may be cut off: as
    set by the class, else the queue, else the platform."""

    def __init__(self, options: Options) -> None:
        self._queues = parse(options.queues)
        self._drain = options.drain_timeout

    def drain(self, policy: Policy, queue: str) -> float:
        """Return for how many seconds it may continue."""
        if policy.drain is not None:
            return policy.drain
        drain = self._queues.get(queue, _SAYS_NOTHING).drain
        return self._drain if drain is None else drain

    def cut_tries(self, policy: Policy, queue: str) -> int:
        """Return the cut-off with which it is given up, counted from 1."""
        return policy.cut_tries or self._queues.get(queue, _SAYS_NOTHING).cuts or CUT_TRIES

    def longest(self, policies: Iterable[Policy]) -> float:
        """Return the longest time that a step of any queue, with any of these policies, may
        continue."""
        drains = [self._drain, *(policy.drain for policy in policies)]
        drains += [terms.drain for terms in self._queues.values()]
        return max(drain for drain in drains if drain is not None)


def task_drain(catalog: Catalog, options: Options) -> float:
    """Return the longest time that anything in this catalog may continue."""
    listeners = (listener for those in catalog.listeners.values() for listener in those)
    policies = (policy_of(cls) for cls in (*catalog.tasks.values(), *listeners))
    return CutOffTerms(options).longest(policies)


def counted_steps(catalog: Catalog) -> list[CountedStep]:
    """Return everything in this catalog that the engine counts, in the queue that its class
    names."""
    steps = [
        CountedStep(name + suffix, cls.queue)
        for name, cls in catalog.tasks.items()
        for suffix in ("", ".finish", ".failed")
        if not suffix or hasattr(cls, suffix[1:])
    ]
    steps += [
        CountedStep(name, "default") for name, job in catalog.crons.items() if job.runs_in_task
    ]
    return steps + [
        CountedStep(name, catalog.events[event].queue, event)
        for event, names in catalog.listener_names().items()
        for name in names
    ]
