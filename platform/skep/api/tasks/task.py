"""Tasks: classes of work that a task worker does later."""

import asyncio
from collections.abc import Iterable
from string import Formatter
from typing import Any, ClassVar, Self, Unpack

from msgspec.structs import replace

from skep.api.tasks.payload import DeliveryTerms, Payload, Receipt
from skep.api.tasks.policy import (
    A_DURATION,
    LOST_TRIES,
    RETRY_BACKOFF,
    Errors,
    count_problem,
    is_duration,
)
from skep.base.backoff import Backoff
from skep.base.errors import EngineError
from skep.engine import binding
from skep.engine.contract import Envelope
from skep.engine.ids import check_delay, milliseconds


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
    how many workers may die over a delivery. When its worker is replaced or stopped, a step may go
    on for `drain` seconds, and is then cut off and run again elsewhere, `cut_tries` times in all;
    None leaves that to the queue and the platform. `queue` is where deliveries wait; of one queue
    those with a higher `priority` are started first.
    """

    tries: ClassVar[int] = 1
    backoff: ClassVar[Backoff] = RETRY_BACKOFF
    timeout: ClassVar[float | None] = None
    retry_on: ClassVar[Errors] = (BaseException,)
    drop_on: ClassVar[Errors] = ()
    lost_tries: ClassVar[int] = LOST_TRIES
    drain: ClassVar[float | None] = None
    cut_tries: ClassVar[int | None] = None
    unique: ClassVar[str] = ""
    unique_for: ClassVar[float] = 0.0
    concurrency_key: ClassVar[str] = ""
    concurrency: ClassVar[int] = 1
    keep_result: ClassVar[float] = 0.0

    _field: ClassVar[str] = "tasks"

    async def deliver(self, **terms: Unpack[DeliveryTerms]) -> Receipt:
        """Deliver the task on the given terms (`delay`, `tries`, `priority`, `queue`, `key`).

        When this returns, the task is on the disk and will be run, whatever is killed.
        Outside of the platform's workers it goes to the platform in PLATFORM_DATA_DIR.
        Raises QueueFull, StoreFull or StoreUnavailable when it cannot be kept, EngineError where
        there is no engine, Undeclared when no plugin of this worker has the class among its tasks,
        ValueError or TypeError for terms and values that cannot be kept.
        """
        (receipt,) = await self.deliver_many([self], **terms)
        return receipt

    def deliver_sync(self, **terms: Unpack[DeliveryTerms]) -> Receipt:
        """Do what `deliver` does, from a thread, as a handler that is a plain `def` runs in one, or
        from a script."""
        return binding.wait_for(self.deliver(**terms))

    @classmethod
    async def deliver_many(
        cls, tasks: Iterable[Self], **terms: Unpack[DeliveryTerms]
    ) -> list[Receipt]:
        """Deliver tasks in one batch that is written at once: all of them are kept, or none.

        `Task.deliver_many` takes tasks of different classes. Raises what `deliver` raises.
        """
        tasks = list(tasks)  # of an iterator nothing would be left after the check
        if wrong := [task for task in tasks if not isinstance(task, Task)]:
            raise TypeError(f"{wrong[0]!r} cannot be delivered: it is not an object of a Task.")
        bound = await binding.reach()
        envelopes = [task.envelope(**terms) for task in tasks]
        outcomes = await bound.put(envelopes)
        receipts = []
        for envelope, outcome in zip(envelopes, outcomes, strict=True):
            # One whose confirmation was lost and that was sent again is a duplicate of itself.
            duplicate = outcome.duplicate and outcome.id != envelope.id
            receipts.append(Receipt(outcome.id, duplicate))
            if not duplicate:
                bound.telemetry.point("task.enqueued", task=envelope.name, queue=envelope.queue)
        return receipts

    def _keyed(self, envelope: Envelope, key: str | None) -> Envelope:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        if key is None and self.unique:
            key = self.unique.format_map(fields)
        serial = self.concurrency_key.format_map(fields) if self.concurrency_key else ""
        if key is None and not serial and not self.keep_result:
            return envelope
        return replace(
            envelope,
            key="" if key is None else f"{self._name}:{key}",
            unique_for=milliseconds("unique_for", self.unique_for),
            concurrency_key=serial,
            concurrency=self.concurrency,
            keep_result=milliseconds("keep_result", self.keep_result),
        )


async def gather(*tasks: Task, timeout: float = 60.0, **terms: Unpack[DeliveryTerms]) -> list[Any]:
    """Deliver tasks in one batch and wait for all their results, in the order of the tasks.

    All need `keep_result`. Raises what `Receipt.result` raises for the first that has no result;
    the others go on. `timeout` is for all together, and checked before anything is delivered.
    """
    check_delay(timeout, "timeout")
    for task in tasks:
        if not isinstance(task, Task):
            raise TypeError(f"{task!r} cannot be delivered: it is not an object of a Task.")
        if not task.keep_result:
            raise EngineError(
                f"{task.registered_name()} keeps no result that could be waited for: "
                "declare keep_result = … seconds."
            )
    receipts = await Task.deliver_many(tasks, **terms)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    return [await receipt.result(max(deadline - loop.time(), 0.0)) for receipt in receipts]


def keys_problem(cls: type[Task]) -> str:
    """Return what in the keys of a class is not possible, or an empty text."""
    for name in ("unique", "concurrency_key"):
        if problem := _template_problem(cls, name):
            return problem
    for name in ("unique_for", "keep_result"):
        if (value := getattr(cls, name)) and not is_duration(value):
            return f"has {name} = {value!r}, which must be 0 or {A_DURATION}"
    return count_problem("concurrency", cls.concurrency)


def _template_problem(cls: type[Task], name: str) -> str:
    template = getattr(cls, name)
    if not isinstance(template, str):
        return f"has {name} = {template!r}, which must be a text with fields in braces"
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        return f"has {name} = {template!r}, which is not a template: {error}"
    for field in fields:
        if field.split(".")[0].split("[")[0] not in cls.model_fields:
            return f"has {name} = {template!r}, but no field `{field}`"
    return ""
