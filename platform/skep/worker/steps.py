"""What an envelope asks for, and what follows from it.

A task's `handle` is followed by its `finish` or, from the dead letters, by its `failed`. An event's
listeners follow one another. A follow-up is an envelope that is put in the same atomic step that
settles the one before, so no crash forgets it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from msgspec.structs import replace

from skep.api.context import Context
from skep.api.event import Event
from skep.base.backoff import Backoff
from skep.engine.base import Envelope, Lease
from skep.engine.headers import ERROR, LISTENER, ORIGIN, RESULT, STEP
from skep.engine.ids import new_id
from skep.worker.catalog import Catalog

Envelopes = tuple[Envelope, ...]

# As large as a payload may be, for the same reason.
_LARGEST_RESULT = 1024 * 1024


class Unknown(Exception):
    """No plugin of this generation has the task or listener."""


class Undecodable(Exception):
    """The payload is not one of this task or event."""


def _nothing(_: object) -> Envelopes:
    return ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `name` is what it is called in logs and metrics.

    `on_return` gives what follows from what the handler returned, and raises TypeError or
    ValueError if that cannot be passed on; `on_death` what follows when the step was given up.
    `meanwhile` is what does not wait for this step to succeed. A listener has the name of its
    `event`, and of those that run after it.
    """

    name: str
    tries: int
    backoff: Backoff
    handler: Callable[[Context], Any]
    on_return: Callable[[Any], Envelopes] = _nothing
    on_death: Callable[[str], Envelopes] = _nothing
    meanwhile: Envelopes = ()
    event: str = ""
    following: tuple[str, ...] = ()


def decode(lease: Lease, catalog: Catalog) -> Step:
    """Return the step that a leased envelope asks for. Raises Unknown or Undecodable."""
    envelope = lease.envelope
    try:
        if LISTENER in envelope.headers:
            return _listening(envelope, lease.attempt, catalog)
        return _working(envelope, catalog)
    except Unknown:
        raise
    except Exception as error:  # an author's validator may raise anything
        raise Undecodable(f"The payload is not one of {envelope.name}: {error!r}") from error


def origin(envelope: Envelope) -> str:
    """Return the id of the receipt that the author has of this delivery."""
    return envelope.headers.get(ORIGIN, envelope.id)


def _working(envelope: Envelope, catalog: Catalog) -> Step:
    cls = catalog.tasks.get(envelope.name)
    if cls is None:
        raise Unknown(f"No plugin of this generation has a task {envelope.name}.")
    task: Any = cls.read(envelope.body)
    kind = envelope.headers.get(STEP)
    if kind is not None:
        return _follower(envelope, task, kind)
    return Step(
        name=envelope.name,
        tries=cls.tries,
        backoff=cls.backoff,
        handler=task.handle,
        on_return=partial(_finish, envelope) if hasattr(cls, "finish") else _nothing,
        on_death=partial(_failed, envelope) if hasattr(cls, "failed") else _nothing,
    )


def _follower(envelope: Envelope, task: Any, kind: str) -> Step:
    """Return the step `finish` or `failed` of a task."""
    name = f"{envelope.name}.{kind}"
    method = getattr(task, kind, None)
    if method is None:  # it was delivered by another generation
        raise Unknown(f"No plugin of this generation has {name}.")
    headers = envelope.headers
    argument = json.loads(headers[RESULT]) if kind == "finish" else headers[ERROR]
    return Step(name, task.tries, task.backoff, partial(method, argument))


def _listening(envelope: Envelope, attempt: int, catalog: Catalog) -> Step:
    wanted = envelope.headers[LISTENER]
    listeners = {cls.registered_name(): cls for cls in catalog.listeners.get(envelope.name, ())}
    if wanted not in listeners:
        raise Unknown(f"No plugin of this generation has a listener {wanted} of {envelope.name}.")
    listener = listeners[wanted]
    event = catalog.events[envelope.name].read(envelope.body)
    names = list(listeners)
    # After its first try a listener is alone: the round has gone on without it.
    following = tuple(names[names.index(wanted) + 1 :]) if attempt == 1 else ()
    after = (_follow_up(envelope, {LISTENER: following[0]}),) if following else ()
    return Step(
        name=wanted,
        tries=listener.tries,
        backoff=listener.backoff,
        handler=_listener_handler(listener, event),
        on_return=lambda value: () if value is False else after,
        meanwhile=after,
        event=envelope.name,
        following=following,
    )


def _listener_handler(cls: Any, event: Event) -> Callable[[Context], Any]:
    """Return a handler that makes its listener only when it is called, for that may fail too."""

    async def handle_async(ctx: Context) -> Any:
        return await cls().handle(event, ctx)

    def handle_plain(ctx: Context) -> Any:
        return cls().handle(event, ctx)

    return handle_async if iscoroutinefunction(cls.handle) else handle_plain


def _finish(envelope: Envelope, result: Any) -> Envelopes:
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"What handle() of {envelope.name} returned cannot be kept for finish(): {error}. "
            "Return what JSON knows: None, bool, numbers, strings, lists and dicts of them."
        ) from error
    if len(text) > _LARGEST_RESULT:
        raise ValueError(
            f"What handle() of {envelope.name} returned has {len(text)} bytes as JSON, and "
            f"{_LARGEST_RESULT} is the most that is kept for finish()."
        )
    return (_follow_up(envelope, {STEP: "finish", RESULT: text}),)


def _failed(envelope: Envelope, error: str) -> Envelopes:
    return (_follow_up(envelope, {STEP: "failed", ERROR: error}),)


def _follow_up(envelope: Envelope, headers: dict[str, str]) -> Envelope:
    """Return an envelope like this one, without what it is alone with: its keys and its result."""
    return replace(
        envelope,
        id=new_id(),
        headers={ORIGIN: origin(envelope), **headers},
        due=0,
        key="",
        unique_for=0,
        concurrency_key="",
        concurrency=1,
        keep_result=0,
    )
