"""Deliver tasks and fire events for callers outside, who know the name and the payload as text."""

import asyncio
import hashlib
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace
from pydantic import ValidationError

from skep.api.tasks.payload import Payload, Receipt
from skep.api.tasks.platform_events import PLATFORM_EVENTS
from skep.base.backoff import Backoff
from skep.base.errors import EngineError, UsageError
from skep.base.logs.log import excerpt
from skep.engine import binding
from skep.wire.messages import Deliver, Delivered, Happened
from skep.worker.loading.catalog import Catalog

P = TypeVar("P", bound=Payload)

_ARTICLES = {"task": "a task", "event": "an event"}
# Characters.
_LONGEST_REFUSAL = 4000

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first=0.5, factor=2.0, cap=10.0, jitter=0.2)


async def deliver(catalog: Catalog, order: Deliver) -> Delivered:
    """Make a task or an event out of text, and deliver or fire it. Refuse what does not fit, as in
    code, and keep nothing of it."""
    receipt: Receipt | None
    try:
        if order.what == "event":
            receipt = await _made(catalog.events, order).fire(**order.terms)
        else:
            receipt = await _made(catalog.tasks, order).deliver(**order.terms)
    except (UsageError, TypeError, ValueError) as error:
        return Delivered(order.number, refusal=_text(error), code="usage")
    except EngineError as error:
        return Delivered(order.number, refusal=_text(error), code="error")
    except Exception as error:  # a validator of the plugin's may raise anything
        log.exception("%s could not be made", order.name)
        return Delivered(order.number, refusal=_text(error, order.name), code="error")
    if receipt is None:
        return Delivered(order.number)
    return Delivered(order.number, receipt.id, receipt.duplicate)


def _made(known: Mapping[str, type[P]], order: Deliver) -> P:
    """Return the task or event with its values: one JSON object of its fields, or the fields in
    their order. Raises UsageError."""
    cls, values = known.get(order.name), order.values
    if cls is None:
        names = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"No plugin has {_ARTICLES[order.what]} {order.name}. The {order.what}s are: {names}."
        )
    if len(values) == 1 and values[0].lstrip().startswith("{"):
        return _checked(cls, _parsed_object(values[0]))
    return _of_values(cls, values)


def _text(error: Exception, task: str = "") -> str:
    return excerpt(f"{task}: {error!r}." if task else str(error), _LONGEST_REFUSAL)


def _parsed_object(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The payload {text[:200]!r} is not JSON: {error}.") from error
    return found


def _of_values(cls: type[P], values: Sequence[str]) -> P:
    names = list(cls.model_fields)
    if len(values) > len(names):
        fields = f"its fields: {', '.join(names)}" if names else "no fields"
        raise UsageError(
            f"{cls.registered_name()} cannot be made of {len(values)} values; it has {fields}."
        )
    given = dict(zip(names, values, strict=False))
    parsed = {name: _parsed(text) for name, text in given.items()}
    try:
        return cls.model_validate_json(json.dumps(parsed), by_name=True)
    except ValidationError as error:
        # `7` and `true` may be meant as texts.
        wanted = {
            str(one["loc"][0]) for one in error.errors() if one["loc"] and "string" in one["type"]
        }
    texts = {name: text for name, text in given.items() if name in wanted}
    return _checked(cls, {**parsed, **texts})


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _checked(cls: type[P], fields: Mapping[str, Any]) -> P:
    """Make the task or event as strictly as in code, except for types that JSON lacks."""
    try:
        return cls.model_validate_json(json.dumps(fields), by_name=True)
    except ValidationError as error:
        reasons = "; ".join(_reason(cls, one) for one in error.errors())
        raise UsageError(f"{cls.registered_name()} cannot be made of this: {reasons}.") from error


def _reason(cls: type[Payload], error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"`{place}` is missing"
    if error["type"] == "extra_forbidden":
        return f"`{place}` is none of its fields ({', '.join(cls.model_fields) or 'it has none'})"
    return f"`{place}`: {error['msg']}" if place else str(error["msg"])


async def send_event(run_id: str, happened: Happened) -> None:
    """Send an event of this run of the platform, however long it takes until the engine can. An
    event has the same id whichever worker sends it."""
    event = PLATFORM_EVENTS[happened.event](**happened.fields)
    envelopes = event.envelopes(binding.current().listeners)
    news = f"{run_id}/{happened.number}"
    named = [
        replace(envelope, id=hashlib.sha256(f"{news}/{n}".encode()).hexdigest()[:32])
        for n, envelope in enumerate(envelopes)
    ]
    for n in itertools.count(1):
        try:
            await binding.current().put(named)
            return
        except EngineError as error:
            log.warning("%s waits to be fired: %s", happened.event, error)
            await asyncio.sleep(_BACKOFF.delay(n))
