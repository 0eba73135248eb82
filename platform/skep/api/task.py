"""Tasks: classes of work that a task worker does later."""

from collections.abc import Sequence
from typing import ClassVar, Self, Unpack

from skep.api.payload import Payload, Receipt, Terms
from skep.api.policy import LOST_TRIES, RETRY_BACKOFF, Errors
from skep.base.backoff import Backoff
from skep.engine import current


class Task(Payload):
    """A class of work; its fields are the payload.

    A subclass has `async def handle(self, ctx)`, or a plain `def` that is run in a thread. It may
    have `finish(self, result, ctx)`, run after `handle` has returned, with what it returned (as
    JSON gives it back); and `failed(self, error, ctx)`, run when the delivery went to the dead
    letters, with the error as a text. Each is a step of its own that survives crashes and has
    `tries` of its own.

    `tries` counts how often a step may be started until it returns, `backoff` how long to wait in
    between; a worker that dies or is replaced costs no try. Errors that are not among `retry_on` go
    to the dead letters at once, those among `drop_on` are dropped like a `Discard`. After `timeout`
    seconds a coroutine is cancelled; a thread cannot be, so its worker is replaced. `lost_tries` is
    how many workers may die over a delivery. `queue` is where deliveries wait; of one queue those
    with a higher `priority` are started first.
    """

    tries: ClassVar[int] = 1
    backoff: ClassVar[Backoff] = RETRY_BACKOFF
    timeout: ClassVar[float | None] = None
    retry_on: ClassVar[Errors] = (BaseException,)
    drop_on: ClassVar[Errors] = ()
    lost_tries: ClassVar[int] = LOST_TRIES

    async def deliver(self, **terms: Unpack[Terms]) -> Receipt:
        """Have the task done, on the given terms (`delay`, `tries`, `priority`, `queue`).

        When this returns, the task is on the disk and will be run, whatever is killed.
        Raises QueueFull, StoreFull or StoreUnavailable when it cannot be kept, EngineError outside
        of the platform's workers, ValueError for terms that are none.
        """
        (receipt,) = await self.deliver_many([self], **terms)
        return receipt

    def deliver_sync(self, **terms: Unpack[Terms]) -> Receipt:
        """Do what `deliver` does, from a thread: a handler that is a plain `def` runs in one."""
        return current.binding().wait_for(self.deliver(**terms))

    @classmethod
    async def deliver_many(cls, tasks: Sequence[Self], **terms: Unpack[Terms]) -> list[Receipt]:
        """Deliver tasks in one batch that is written at once: all of them are kept, or none.

        `Task.deliver_many` takes tasks of different classes. Raises what `deliver` raises.
        """
        binding = current.binding()
        envelopes = [task.envelope(**terms) for task in tasks]
        await binding.put(envelopes)
        for envelope in envelopes:
            binding.telemetry.point("task.enqueued", task=envelope.name, queue=envelope.queue)
        return [Receipt(envelope.id) for envelope in envelopes]
