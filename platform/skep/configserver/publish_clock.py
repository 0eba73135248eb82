"""Scheduled publishes: once a second the server publishes what is due."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection

from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.publish_requests import RequestState

_log = logging.getLogger(__name__)
_TICK = 1.0


async def publish_on_time(context: EditingContext, ended: Callable[[], Collection[str]]) -> None:
    """Publish or refuse each request whose time has come, until cancelled; what fails is logged and
    tried again. `ended` returns the identities of people whose accounts are disabled."""
    while True:
        await asyncio.sleep(_TICK)
        try:
            await _publish_due(context, time.time_ns() // 1_000_000, ended)
        except sqlite3.Error as error:
            _log.error("scheduled publishes wait: a file of the config server failed: %s", error)


async def _publish_due(
    context: EditingContext, now: int, ended: Callable[[], Collection[str]]
) -> None:
    requests = context.desk.requests
    if not requests.is_due(now):
        return
    for done in await context.write(requests.publish_due, now, ended()):
        if done.state == RequestState.REFUSED:
            _log.warning("request %d to publish is refused: %s", done.id, done.reason)
        else:
            _log.info("request %d is published on time: %s", done.id, done.address)
