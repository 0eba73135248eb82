"""What the server does by itself, every second: publish what is due, notice other processes."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable

from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.publish_requests import RequestState
from skep.configserver.model.releases import Notification
from skep.configserver.storage import releases

_log = logging.getLogger(__name__)
_TICK = 1.0


class PublishClock:
    """Publishes scheduled requests, and calls `wake` with each notification: also with those of the
    verbs of the command line, which write to the same file."""

    def __init__(self, context: EditingContext, wake: Callable[[Notification], object]) -> None:
        self._context = context
        self._database = context.desk.database
        self._requests = context.desk.requests
        self._wake = wake
        self._last = releases.last_notification(self._database.reader)

    def catch_up(self) -> None:
        """Call `wake` with each notification since the last call, by whatever process."""
        for notification in releases.notifications_after(self._database.reader, self._last):
            self._last = notification.id
            self._wake(notification)

    async def run(self) -> None:
        """Work until cancelled; what fails is logged and tried again."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self._tick(time.time_ns() // 1_000_000)
            except sqlite3.Error as error:
                _log.error("scheduled publishes wait, the config server's file failed: %s", error)

    async def _tick(self, now: int) -> None:
        self.catch_up()
        if not self._requests.is_due(now):
            return
        for done in await self._context.write(self._requests.publish_due, now):
            if done.state == RequestState.REFUSED:
                _log.warning("request %d to publish is refused: %s", done.id, done.reason)
            else:
                _log.info("request %d is published on time: %s", done.id, done.address)
