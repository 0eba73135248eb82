"""Events, and the listeners that handle them."""

from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from skep.api.naming import registered_name
from skep.api.payload import Payload, Receipt
from skep.api.policy import RETRY_BACKOFF
from skep.base.backoff import Backoff
from skep.engine import current
from skep.engine.headers import LISTENER


class Event(Payload):
    """Something that happened; its fields are the payload. `queue` is where it waits."""

    async def fire(self, *, delay: float = 0.0) -> Receipt | None:
        """Have the listeners run, one after the other, not earlier than `delay` seconds from now.

        When this returns, the event is on the disk. Returns None, and keeps nothing, when no plugin
        listens to it. Raises what `Task.deliver` raises.
        """
        binding = current.binding()
        binding.telemetry.point("event.published", event=self._name)
        listeners = binding.listeners.get(self._name, ())
        if not listeners:
            return None
        envelope = self.envelope(delay, {LISTENER: listeners[0]})
        await binding.put(envelope)
        return Receipt(envelope.id)

    def fire_sync(self, *, delay: float = 0.0) -> Receipt | None:
        """Do what `fire` does, from a thread."""
        return current.binding().wait_for(self.fire(delay=delay))


E_co = TypeVar("E_co", bound=Event, covariant=True)


class Listener(Generic[E_co]):
    """Handles one class of events: `class OnOrderPaid(Listener[OrderPaid])`.

    A subclass has `async def handle(self, event, ctx)`, or a plain `def` that is run in a thread.
    The listeners of an event run in the order in which the plugins declare them; one that returns
    False ends the round. One that fails is tried again alone, `tries` times in all, while the next
    ones go on. Every run has an object of its own.
    """

    event: ClassVar[type[Event]]
    tries: ClassVar[int] = 1
    backoff: ClassVar[Backoff] = RETRY_BACKOFF

    _name: ClassVar[str]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Take the event from the brackets, and the name from the class statement if it has one."""
        super().__init_subclass__(**kwargs)
        cls._name = name or registered_name(cls)
        for base in getattr(cls, "__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Listener):
                (argument,) = get_args(base)
                if isinstance(argument, type):  # and not the variable of a generic in between
                    cls.event = argument

    @classmethod
    def registered_name(cls) -> str:
        """Return the name under which this class is known."""
        return cls._name
