"""Send what the supervisor reports as events to the listeners of plugins."""

import asyncio
import hashlib
import itertools
import logging

from msgspec.structs import replace

from skep.api.tasks.platform_events import PLATFORM_EVENTS
from skep.base.backoff import Backoff
from skep.base.errors import EngineError
from skep.engine import binding
from skep.wire.messages import Happened

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first=0.5, factor=2.0, cap=10.0, jitter=0.2)


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
