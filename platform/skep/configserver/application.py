"""The config server as one ASGI app."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from skep.base.errors import UsageError
from skep.configserver.admin_api import routes as admin_api
from skep.configserver.client_api.routes import ClientApi
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.writer_thread import WriterThread
from skep.configserver.http import errors
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.http.token_guard import TokenGuard
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.releases import Notification
from skep.configserver.open_api import routes as open_api
from skep.configserver.publish_clock import publish_on_time
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.instance_book import InstanceBook
from skep.configserver.reading.published import Published
from skep.configserver.reading.read_cache import ReadCache
from skep.configserver.reading.watchers import Watchers
from skep.configserver.server_metrics import RequestCounter, ServerMetrics
from skep.configserver.storage import releases
from skep.configserver.storage.database import ConfigDatabase

_log = logging.getLogger(__name__)
# Seconds between two writes of what instances run.
_FLUSH = 5.0

Pages = Callable[[EditingContext, Watchers], Sequence[BaseRoute]]
# Seconds between two looks for changes by other processes.
_LOOK = 1.0


def create_app(
    database: ConfigDatabase,
    token: str,
    *,
    hold: float = 50.0,
    limits: EditorLimits | None = None,
    server_keys: Callable[[], Sequence[str]] | None = None,
    pages: Pages | None = None,
    ended: Callable[[], Collection[str]] = tuple,
) -> Starlette:
    """Return the app over an open file; all but the API of clients needs a token, and `token` is
    the administrator's.

    `hold` is how many seconds a poll waits for news: 1 to 90, as Apollo allows; most proxies give
    up after its default of 60. With `server_keys` all clients must sign, with one of these keys or
    of their app. `pages` makes the routes for people; `ended` returns the identities of those whose
    accounts are disabled. Close `app.state.watchers`, the held polls, before you stop; `clients`
    and `metrics` there are for `protocol`. Raises UsageError for another hold, or an empty token.
    """
    if not 1 <= hold <= 90:
        raise UsageError(f"The config server can hold polls for 1 to 90 seconds, not {hold:g}.")
    if not token:
        raise UsageError("The config server needs a token, or anybody could write to it.")
    cache = ReadCache(database)
    gate = AccessGate(cache, server_keys)
    watchers, book = Watchers(), InstanceBook(database)
    clients = ClientApi(Published(cache), gate, watchers, book, hold)
    metrics = ServerMetrics(watchers, gate)
    guard = TokenGuard(database, token, gate)
    context = EditingContext(EditingDesk(database, limits), WriterThread(), guard, book)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with _running(context, watchers, metrics, ended):
            yield

    app = Starlette(
        middleware=[Middleware(RequestCounter, metrics=metrics)],
        routes=[
            Route("/metrics", metrics.show),
            *clients.routes(),
            *open_api.routes(context),
            *admin_api.routes(context),
            *(pages(context, watchers) if pages else ()),
        ],
        exception_handlers=errors.handlers(),
        lifespan=lifespan,
    )
    app.state.watchers, app.state.clients, app.state.metrics = watchers, clients, metrics
    return app


@contextlib.asynccontextmanager
async def _running(
    context: EditingContext,
    watchers: Watchers,
    metrics: ServerMetrics,
    ended: Callable[[], Collection[str]],
) -> AsyncIterator[None]:
    """Wake watchers after each commit, and write what instances run from time to time."""
    loop, database = asyncio.get_running_loop(), context.desk.database
    waker = _Waker(database, watchers, metrics)
    ignore = database.listen(lambda one: loop.call_soon_threadsafe(waker.look))
    works = (_flush(context), waker.follow(), publish_on_time(context, ended))
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await context.write(context.book.flush)
        context.writer.close()
        ignore()


class _Waker:
    """Wakes the watchers of what has changed, each notification once."""

    def __init__(
        self, database: ConfigDatabase, watchers: Watchers, metrics: ServerMetrics
    ) -> None:
        self._database = database
        self._watchers = watchers
        self._metrics = metrics
        found = releases.notifications_after(database.reader, 0)
        self._last = found[-1].id if found else 0

    def _wake(self, notification: Notification) -> None:
        """Wake the watchers of an address."""
        self._last = notification.id
        self._metrics.count_notification()
        woken = self._watchers.wake(notification)
        _log.info("notification %d of %s: woke %d", notification.id, notification.address, woken)

    async def follow(self) -> None:
        """Look for what other processes have committed, verbs of the command line."""
        version = 0
        while True:
            await asyncio.sleep(_LOOK)
            try:
                if version != (version := self._database.version()):
                    self.look()
            except sqlite3.Error as error:
                _log.warning("the config server's file cannot be read: %s", error)

    def look(self) -> None:
        """Wake the watchers of all that was committed since the last look, by whatever process."""
        for notification in releases.notifications_after(self._database.reader, self._last):
            self._wake(notification)


async def _flush(context: EditingContext) -> None:
    while True:
        await asyncio.sleep(_FLUSH)
        await context.write(context.book.flush)
