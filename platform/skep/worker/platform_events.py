"""Fire what the supervisor tells, as events that plugins can listen to."""

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


class Teller:
    """Puts the platform's events; `run_id` tells this run of the platform from others."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    async def tell(self, happened: Happened) -> None:
        """Put the event, however long it takes until the engine can. The same piece of news has the
        same id, whichever worker puts it."""
        event = PLATFORM_EVENTS[happened.event](**happened.fields)
        envelopes = event.envelopes(binding.current().listeners)
        news = f"{self._run_id}/{happened.number}"
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
