"""Tasks: classes of work that a task worker does later."""

from typing import ClassVar

from skep.api.payload import Payload, Receipt
from skep.api.policy import RETRY_BACKOFF
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
    between; a worker that dies or is replaced costs no try. `queue` is where deliveries wait.
    """

    tries: ClassVar[int] = 1
    backoff: ClassVar[Backoff] = RETRY_BACKOFF

    async def deliver(self, *, delay: float = 0.0) -> Receipt:
        """Have the task done, not earlier than `delay` seconds from now.

        When this returns, the task is on the disk and will be run, whatever is killed.
        Raises StoreUnavailable or StoreFull when it cannot be kept, EngineError outside of the
        platform's workers.
        """
        binding = current.binding()
        envelope = self.envelope(delay)
        await binding.put(envelope)
        binding.telemetry.point("task.enqueued", task=envelope.name, queue=envelope.queue)
        return Receipt(envelope.id)

    def deliver_sync(self, *, delay: float = 0.0) -> Receipt:
        """Do what `deliver` does, from a thread: a handler that is a plain `def` runs in one."""
        return current.binding().wait_for(self.deliver(delay=delay))
