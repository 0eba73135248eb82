"""What tasks and events share: typed fields that travel through a queue, and the receipt."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict

from msgspec.structs import replace
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from skep.api.naming import plugin_of, registered_name
from skep.api.tasks.policy import A_COUNT, is_count
from skep.api.tasks.serialization import difference, is_exact
from skep.base.errors import EngineError, Undeclared
from skep.base.logs import correlation
from skep.engine import binding
from skep.engine.contract import Envelope, Result
from skep.engine.headers import TRIES
from skep.engine.ids import check_delay, due_after, new_id

# Larger data belongs in a store of its own: a payload is read and written as a whole.
LARGEST_BODY = 1024 * 1024
_PRIORITIES = 2**31
A_PRIORITY = f"a whole number above -{_PRIORITIES} and below {_PRIORITIES}"


class DeliveryTerms(TypedDict, total=False):
    """What may be said of one delivery when it is delivered or fired.

    `delay` is how many seconds it waits at least; it is kept to the millisecond. `tries` and
    `priority` stand above what the class declares, `queue` and the unique `key` too.
    """

    delay: float
    tries: int
    priority: int
    queue: str
    key: str


class Payload(
    BaseModel,
    frozen=True,
    strict=True,
    extra="forbid",
    ser_json_inf_nan="constants",
    validate_by_name=True,
    validate_by_alias=True,
):
    """The base of Task and Event. Its fields are checked when it is made: a value of another type,
    even one that could be converted, raises pydantic's ValidationError there and then. A field with
    an alias takes its name as well."""

    queue: ClassVar[str] = "default"
    priority: ClassVar[int] = 0

    _name: ClassVar[str]
    # The field of Plugin that declares it.
    _field: ClassVar[str]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Accept `name` in the class statement; pydantic hands it to both of these hooks."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Settle the registered name, and see that no field hides what every payload has."""
        super().__pydantic_init_subclass__(**kwargs)
        cls._name = name or registered_name(cls)
        for base in cls.__mro__[1:]:
            if issubclass(base, Payload) and base.__module__.startswith("skep."):
                for field in cls.model_fields.keys() & vars(base).keys():
                    raise TypeError(
                        f"The field `{field}` of {cls.__qualname__} hides what every "
                        f"{base.__name__} has under this name: call it otherwise."
                    )

    @classmethod
    def registered_name(cls) -> str:
        """Return the name under which this class is known: `orders.SendReceipt`, or the one given
        as `class SendReceipt(Task, name=…)`."""
        return cls._name

    @classmethod
    def require_declared(cls) -> None:
        """Raise Undeclared in a worker of whose plugins none declares this class: what is delivered
        to it would never run."""
        declared = binding.declared()
        if declared is None or declared.get(cls._name) is cls:
            return
        name, plugin = f"{cls.__module__}.{cls.__qualname__}", plugin_of(cls.__module__)
        if cls._name in declared:
            reason = f"another class has its name, {cls._name}, and is declared"
        else:
            reason = f"it is in no Plugin({cls._field}=[…])"
        raise Undeclared(
            plugin,
            f"{name} cannot be delivered: {reason}. Add it to {cls._field} of the plugin {plugin}.",
        )

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Make an object of what `envelope` wrote, perhaps in another generation: a field that is
        gone is ignored. Raises pydantic's ValidationError when it does not fit."""
        return cls.model_validate_json(body, extra="ignore", by_name=True, by_alias=False)

    @classmethod
    def read_exactly(cls, body: bytes) -> Self:
        """Do what `read` does, but refuse a field that is not known."""
        return cls.model_validate_json(body, extra="forbid", by_name=True, by_alias=False)

    def envelope(
        self,
        *,
        delay: float = 0.0,
        tries: int | None = None,
        priority: int | None = None,
        queue: str | None = None,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Envelope:
        """Return this as it travels, on the given `DeliveryTerms`.

        Raises ValueError for terms that are not possible, EngineError for a payload that is too
        large or that JSON cannot carry as it is, Undeclared for a class that is in no Plugin.
        """
        self.require_declared()
        headers = {**correlation.headers(), **(headers or {})}
        if tries is not None:
            if not is_count(tries):
                raise ValueError(f"tries is {tries!r}: it must be {A_COUNT}.")
            headers[TRIES] = str(tries)
        if not is_priority(priority := self.priority if priority is None else priority):
            raise ValueError(f"priority is {priority!r}: it must be {A_PRIORITY}.")
        for name, text in (("queue", queue), ("key", key)):
            if text is not None and not is_text(text):
                raise ValueError(f"{name} is {text!r}: it must be a text.")
        envelope = Envelope(
            id=new_id(),
            name=self._name,
            body=self._body(),
            queue=queue or self.queue,
            headers=headers,
            due=due_after(delay, binding.clock()),
            priority=priority,
            sender=binding.sender(),
        )
        return self._keyed(envelope, key)

    def _keyed(self, envelope: Envelope, key: str | None) -> Envelope:
        """Add what makes the envelope unlike others; a task has more of it than an event."""
        return envelope if key is None else replace(envelope, key=f"{self._name}:{key}")

    def _body(self) -> bytes:
        try:
            # A value that is not one of its field's type came in past the check. (What
            # model_dump_json does beside this takes twice as long.)
            body = self.__pydantic_serializer__.to_json(self, by_alias=False, warnings="error")
        except PydanticSerializationError as error:
            raise EngineError(
                f"The payload of {self._name} cannot travel as JSON: {error}."
            ) from error
        if len(body) > LARGEST_BODY:
            raise EngineError(
                f"The payload of {self._name} has {len(body)} bytes, and {LARGEST_BODY} is the "
                "most: keep the data elsewhere, and deliver where it is."
            )
        is_compared = binding.compares() or not is_exact(type(self))
        if is_compared and (problem := difference(self._name, self, body, self.read)):
            raise EngineError(problem)
        return body


class TaskFailed(EngineError):
    """A task whose result was waited for has become a dead letter; the text is its last error."""


class TaskCancelled(EngineError):
    """A task whose result was waited for was cancelled."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Confirms that a delivery is kept; `id` identifies it.

    With `duplicate` nothing was added: another delivery with the same unique key waits or runs, and
    `id` is its id.
    """

    id: str
    duplicate: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError when `id` is not the text that a delivery is called by."""
        if not (is_text(self.id) and self.id):
            raise ValueError(f"The id of a receipt is {self.id!r}: it must be a text.")

    async def result(self, timeout: float = 60.0) -> Any:
        """Wait for what `handle` returns, as JSON gives it back, for `timeout` seconds at most.

        Only for tasks with `keep_result`. Raises TimeoutError when it has not ended by then,
        TaskFailed when it has become a dead letter, TaskCancelled when it was cancelled,
        EngineError when its result is not, or no longer, kept, ValueError when `timeout` is not a
        number of seconds between 0 and a hundred years.
        """
        check_delay(timeout, "timeout")
        engine = (await binding.reach()).engine
        found = await engine.result(self.id, timeout)
        if found is None and await engine.find(self.id) is not None:
            raise TimeoutError(f"The delivery {self.id} did not end within {timeout:g} s.")
        # It may have ended between the two questions.
        return _value(self.id, found or await engine.result(self.id))

    def result_sync(self, timeout: float = 60.0) -> Any:
        """Do what `result` does, from a thread."""
        return binding.wait_for(self.result(timeout))

    async def cancel(self) -> bool:
        """Cancel the delivery; return whether it had not ended yet.

        What has not begun never does. A coroutine that runs is cancelled; a plain function that
        runs sees it in `ctx.cancelled()`, and if it ends all the same, it has ended.
        """
        engine = (await binding.reach()).engine
        (outcome,) = await engine.cancel([self.id])
        return outcome != "unknown"

    def cancel_sync(self) -> bool:
        """Do what `cancel` does, from a thread."""
        return binding.wait_for(self.cancel())


def _value(delivery: str, result: Result | None) -> Any:
    if result is None:
        raise EngineError(
            f"How the delivery {delivery} ended is not known here: its task keeps no result "
            "(keep_result), or keeps it no longer."
        )
    if result.ending == "done":
        return json.loads(result.body or b"null")
    if result.ending == "cancelled":
        raise TaskCancelled(f"The delivery {delivery} was cancelled.")
    raise TaskFailed(f"The delivery {delivery} has failed: {result.error}")


def is_text(value: object) -> bool:
    """Return whether this is a text that can be written down: half a surrogate pair cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def is_priority(value: object) -> bool:
    """Return whether this is a whole number that fits where priorities are kept."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _PRIORITIES
