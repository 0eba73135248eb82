"""What an envelope asks for, and what follows from it.

A task's `handle` is followed by its `finish` or, from the dead letters, by its `failed`. An event's
listeners follow one another. A follow-up is an envelope that is put in the same atomic step that
settles the one before, so no crash forgets it.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from msgspec.structs import replace

from skep.api.tasks.context import Context
from skep.api.tasks.event import Event
from skep.api.tasks.policy import LOST_TRIES, Policy, policy_of
from skep.base.logs.correlation import REQUEST_ID, TRACEPARENT
from skep.engine import binding
from skep.engine.contract import Envelope, Lease
from skep.engine.headers import (
    ALONE,
    CRON,
    DIED,
    ERROR,
    FIRED,
    LISTENER,
    ORIGIN,
    RESULT,
    STEP,
    TRIES,
)
from skep.engine.ids import new_id
from skep.worker.cron.delivery import handler as cron_handler
from skep.worker.loading.catalog import Catalog

Envelopes = tuple[Envelope, ...]

# Why a listener is a dead letter that has had its turn.
_TRIED = ("failed", "timeout", "worker_lost", "invalid_result")
# What goes on with everything that follows.
_CARRIED = (REQUEST_ID, TRACEPARENT)
# As large as a payload may be, for the same reason.
_LARGEST_RESULT = 1024 * 1024


class Unknown(Exception):
    """No plugin of this generation has the task or listener."""


class InvalidResult(Exception):
    """The value that a handler returned cannot be kept. The handler has done its work, and would
    repeat it and return the same."""


class Undecodable(Exception):
    """The payload is not one of this task or event."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; `name` is its name in logs and metrics.

    `on_return` returns what follows from the handler's value, and `result` what to keep of it; both
    raise InvalidResult if it cannot be passed on. `on_death` returns what follows when the step is
    given up. `regardless` does not wait for this step to succeed. A listener has the name of its
    `event`, and of the listeners `following` it; at its first start, `fired` is when the event was
    due.
    """

    name: str
    policy: Policy
    handler: Callable[[Context], Any]
    on_return: Callable[[Any], Envelopes] = lambda _: ()
    result: Callable[[Any], bytes] = lambda _: b""
    on_death: Callable[[str], Envelopes] = lambda _: ()
    regardless: Envelopes = ()
    event: str = ""
    following: tuple[str, ...] = ()
    fired: int = 0


def decode(lease: Lease, catalog: Catalog, *, exact: bool = False) -> Step:
    """Return the step that a leased envelope asks for. Raises Unknown or Undecodable; with `exact`
    also for a payload with unknown fields."""
    envelope = lease.envelope
    try:
        if LISTENER in envelope.headers:
            return _listening(lease, catalog, exact)
        if CRON in envelope.headers:
            return _by_the_clock(envelope, catalog)
        return _working(envelope, catalog, exact)
    except Unknown:
        raise
    except Exception as error:  # an author's validator may raise anything
        raise Undecodable(f"The payload is not one of {envelope.name}: {error!r}") from error


def origin(envelope: Envelope) -> str:
    """Return the id of the receipt that the author has of this delivery."""
    return envelope.headers.get(ORIGIN, envelope.id)


def lost_tries(envelope: Envelope, catalog: Catalog) -> int:
    """Return after how many deaths of workers a delivery is given up."""
    cls = catalog.handler(envelope.name, envelope.headers.get(LISTENER, ""))
    return LOST_TRIES if cls is None else policy_of(cls).lost_tries


def _terms(envelope: Envelope, cls: Any) -> Policy:
    """Return the policy of the class, with the overrides of the delivery."""
    policy = policy_of(cls)
    tries = envelope.headers.get(TRIES)
    return policy if tries is None else dataclasses.replace(policy, tries=int(tries))


def _working(envelope: Envelope, catalog: Catalog, exact: bool) -> Step:
    cls = catalog.tasks.get(envelope.name)
    if cls is None:
        raise Unknown(f"No plugin of this generation has a task {envelope.name}.")
    task: Any = (cls.read_exactly if exact else cls.read)(envelope.body)
    kind = envelope.headers.get(STEP)
    if kind is not None:
        return _follower(envelope, task, kind)
    return Step(
        name=envelope.name,
        policy=_terms(envelope, cls),
        handler=task.handle,
        on_return=partial(_finish, envelope, cls),
        result=partial(_kept, envelope),
        on_death=partial(_failed, envelope, cls),
    )


def _by_the_clock(envelope: Envelope, catalog: Catalog) -> Step:
    job = catalog.crons.get(envelope.headers[CRON])
    if job is None:
        raise Unknown(f"No plugin of this generation has a cron {envelope.name}.")
    return Step(name=envelope.name, policy=Policy(), handler=cron_handler(envelope, job))


def _follower(envelope: Envelope, task: Any, kind: str) -> Step:
    name = f"{envelope.name}.{kind}"
    method = getattr(task, kind, None)
    if method is None:  # it was delivered by another generation
        raise Unknown(f"No plugin of this generation has {name}.")
    headers = envelope.headers
    argument = json.loads(headers[RESULT]) if kind == "finish" else headers[ERROR]
    return Step(name, policy_of(type(task)), partial(method, argument))


def _listening(lease: Lease, catalog: Catalog, exact: bool) -> Step:
    envelope = lease.envelope
    wanted = envelope.headers[LISTENER]
    listener = catalog.handler(envelope.name, wanted)
    if listener is None:
        raise Unknown(f"No plugin of this generation has a listener {wanted} of {envelope.name}.")
    kind = catalog.events[envelope.name]
    event = (kind.read_exactly if exact else kind.read)(envelope.body)
    # After its first try a listener is alone: the round has gone on without it. So it is with one
    # that was a dead letter, unless it was unknown or undecodable.
    has_run = lease.attempt > 1 or envelope.headers.get(DIED) in _TRIED
    is_alone = has_run or ALONE in envelope.headers
    following = () if is_alone else catalog.following(envelope.name, wanted)
    fired = int(envelope.headers.get(FIRED) or max(lease.put_at, envelope.due))
    next_one = {LISTENER: following[0], FIRED: str(fired)} if following else {}
    after = (_follow_up(envelope, next_one),) if following else ()
    return Step(
        name=wanted,
        policy=_terms(envelope, listener),
        handler=_listener_handler(listener, event),
        on_return=lambda value: () if value is False else after,
        regardless=after,
        event=envelope.name,
        following=following,
        fired=0 if has_run else fired,
    )


def _listener_handler(cls: Any, event: Event) -> Callable[[Context], Any]:
    """Return a handler that creates its listener only when called: creation may fail too."""

    async def handle_async(ctx: Context) -> Any:
        return await cls().handle(event, ctx)

    def handle_plain(ctx: Context) -> Any:
        return cls().handle(event, ctx)

    return handle_async if iscoroutinefunction(cls.handle) else handle_plain


def _finish(envelope: Envelope, cls: Any, result: Any) -> Envelopes:
    if not hasattr(cls, "finish"):
        return ()
    return (_follow_up(envelope, {STEP: "finish", RESULT: _as_json(envelope, result)}),)


def _kept(envelope: Envelope, result: Any) -> bytes:
    return _as_json(envelope, result).encode() if envelope.keep_result else b""


def _as_json(envelope: Envelope, result: Any) -> str:
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(
            f"What handle() of {envelope.name} returned cannot be kept: {error}. "
            "Return what JSON knows: None, bool, numbers, strings, lists and dicts of them."
        ) from error
    if len(text) > _LARGEST_RESULT:
        raise InvalidResult(
            f"What handle() of {envelope.name} returned has {len(text)} bytes as JSON, and "
            f"{_LARGEST_RESULT} is the most that is kept."
        )
    return text


def _failed(envelope: Envelope, cls: Any, error: str) -> Envelopes:
    if not hasattr(cls, "failed"):
        return ()
    return (_follow_up(envelope, {STEP: "failed", ERROR: error}),)


def _follow_up(envelope: Envelope, headers: dict[str, str]) -> Envelope:
    """Return an envelope like this one, without its keys and its kept result."""
    names = (*_CARRIED, TRIES) if LISTENER in headers else _CARRIED
    carried = {name: envelope.headers[name] for name in names if name in envelope.headers}
    return replace(
        envelope,
        id=new_id(),
        headers={ORIGIN: origin(envelope), **carried, **headers},
        due=0,
        key="",
        unique_for=0,
        concurrency_key="",
        concurrency=1,
        keep_result=0,
        sender=binding.sender(),
    )
