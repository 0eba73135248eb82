"""Events, and the listeners that handle them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, Unpack, get_args, get_origin

from skep.api.naming import registered_name
from skep.api.tasks.payload import DeliveryTerms, Payload, Receipt
from skep.api.tasks.policy import LOST_TRIES, RETRY_BACKOFF, Errors
from skep.base.backoff import Backoff
from skep.base.errors import EngineError, PlatformError
from skep.base.rundir import RunDir
from skep.engine import binding
from skep.engine.contract import Envelope
from skep.engine.headers import ALONE, LISTENER, ORIGIN
from skep.wire import control
from skep.wire.control import LONGEST_QUESTION

# Longer than the supervisor waits for the worker.
_PATIENCE = 20.0


class Event(Payload):
    """Something that happened; its fields are the payload. `queue` is where it waits.

    Its listeners run one after the other; with `fanout` each gets a delivery of its own, so that
    they run at the same time and none can stop the others.
    """

    fanout: ClassVar[bool] = False

    _field: ClassVar[str] = "events"

    async def fire(self, **terms: Unpack[DeliveryTerms]) -> Receipt | None:
        """Have the listeners run, on the given terms (`delay`, `tries`, `priority`, `queue`).

        When this returns, the event is on the disk. `tries` is for each listener. Returns None, and
        keeps nothing, when no plugin listens to it. Outside of the platform's workers, a worker of
        the platform in PLATFORM_DATA_DIR fires it. Raises what `Task.deliver` raises.
        """
        if not binding.is_bound():
            return await self._fire_there(binding.run_dir(), terms)
        bound = binding.current()
        self.require_declared()
        bound.telemetry.point("event.published", event=self._name, payload=self)
        envelopes = self.envelopes(bound.listeners, **terms)
        if not envelopes:
            return None
        await bound.put(envelopes)
        return Receipt(envelopes[0].id)

    async def _fire_there(self, run_dir: RunDir, terms: DeliveryTerms) -> Receipt | None:
        """Have a worker of the platform fire it: only workers know the listeners."""
        body = self.envelope(**terms).body.decode()
        if len(json.dumps(body)) > LONGEST_QUESTION:
            raise EngineError(
                f"The payload of {self._name} has {len(body)} bytes, and {LONGEST_QUESTION} is the "
                "most from outside of a worker: fire it in a worker, or keep the data elsewhere."
            )
        asked = control.ask(
            run_dir.control_socket, "event.fire", event=self._name, values=[body], terms=terms
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                fired = await asked
        except (PlatformError, TimeoutError) as error:
            text = str(error) or f"no answer within {_PATIENCE:g} s"
            raise EngineError(f"{self._name} was not fired: {text}") from error
        return Receipt(fired["id"]) if fired["id"] else None

    def envelopes(
        self, listeners: Mapping[str, Sequence[str]], **terms: Unpack[DeliveryTerms]
    ) -> list[Envelope]:
        """Return this as it travels to its listeners, whose names are given by that of the event:
        one envelope, or one for each with `fanout`."""
        these = listeners.get(self._name, ())
        if not these or not self.fanout:
            return [self.envelope(**terms, headers={LISTENER: name}) for name in these[:1]]
        first = self.envelope(**terms, headers={LISTENER: these[0], ALONE: "1"})
        shared = {ORIGIN: first.id, ALONE: "1"}
        others = [self.envelope(**terms, headers={LISTENER: name, **shared}) for name in these[1:]]
        return [first, *others]

    def fire_sync(self, **terms: Unpack[DeliveryTerms]) -> Receipt | None:
        """Do what `fire` does, from a thread or a script."""
        return binding.wait_for(self.fire(**terms))


E_co = TypeVar("E_co", bound=Event, covariant=True)


class Listener(Generic[E_co]):
    """Handles one class of events: `class OnOrderPaid(Listener[OrderPaid])`.

    A subclass has `async def handle(self, event, ctx)`, or a plain `def` that is run in a thread.
    The listeners of an event run by their `order`, the lowest first, and of one order as the
    plugins declare them; one that returns False ends the round. One that fails is tried again
    alone, `tries` times in all, while the next ones go on. Every run has an object of its own. What
    `Task` says of its terms holds here too.
    """

    event: ClassVar[type[Event]]
    order: ClassVar[int] = 0
    tries: ClassVar[int] = 1
    backoff: ClassVar[Backoff] = RETRY_BACKOFF
    timeout: ClassVar[float | None] = None
    retry_on: ClassVar[Errors] = (BaseException,)
    drop_on: ClassVar[Errors] = ()
    lost_tries: ClassVar[int] = LOST_TRIES
    drain: ClassVar[float | None] = None
    cut_tries: ClassVar[int | None] = None

    _name: ClassVar[str]

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        """Take the event from the brackets, and the name from the class statement if it has one."""
        super().__init_subclass__(**kwargs)
        cls._name = name or registered_name(cls)
        for base in vars(cls).get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Listener):
                (argument,) = get_args(base)
                if isinstance(argument, type):  # and not the variable of a generic in between
                    cls.event = argument

    @classmethod
    def registered_name(cls) -> str:
        """Return the name under which this class is known."""
        return cls._name
