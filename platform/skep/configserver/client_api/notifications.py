"""`/notifications`: news of one namespace or of many, by long polls."""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import requests
from skep.configserver.model.names import Address, bare, fallback, fold, is_text
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.releases import Notification
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.published import Published
from skep.configserver.reading.watchers import Waiter, Watchers, folded, give

# Seconds, as in Apollo.
_LEGACY_HOLD = 30.0
# No client names more; Apollo itself stops near 100, where its URLs end.
_MOST_NAMESPACES = 1000


@dataclass(frozen=True, slots=True)
class WatchedNamespace:
    """One namespace of a poll, in the client's spelling without `.properties`, and the newest id
    that the client has seen."""

    namespace: str
    notification_id: int


class HeldPoll:
    """A poll that waits, until `leave`; it keeps no more than its answer needs, because there are
    thousands."""

    __slots__ = ("_names", "_timer", "_watched", "_watchers", "waiter")

    def __init__(
        self, watchers: Watchers, names: Iterable[str], watched: Iterable[Address], seconds: float
    ) -> None:
        self._names = tuple(names)
        self._watched = folded(watched)
        self._watchers = watchers
        self.waiter = watchers.join(self._watched)
        self._timer = asyncio.get_running_loop().call_later(seconds, give, self.waiter, None)

    def leave(self) -> None:
        """Wait no longer."""
        self._timer.cancel()
        self._watchers.leave(self.waiter, self._watched)

    def answer(self) -> Response:
        """Return what the poll is answered when its wait has ended."""
        return _told(self._names, self.waiter.result())


class NotificationsApi:
    """The long polls; `hold` is how many seconds one may wait."""

    def __init__(
        self, published: Published, watchers: Watchers, gate: AccessGate, hold: float
    ) -> None:
        self._published = published
        self._watchers = watchers
        self._gate = gate
        self._hold = hold

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/notifications/v2", self.many),
            Route("/notifications", self.one),
        ]

    async def many(self, request: Request) -> Response:
        """Answer the namespaces that changed since the given ids; hold the poll until one does."""
        begun = self.begin(request)
        if isinstance(begun, Response):
            return begun
        try:
            await _wait(request, begun.waiter)
            return begun.answer()
        finally:
            begun.leave()

    def begin(self, request: Request) -> Response | HeldPoll:
        """Return the answer to such a poll, or what is held if there is no news. Raises as `many`
        does: InvalidRequest and SignatureRefused."""
        app_id, clusters = self._asker(request)
        asked = parse_asked(request.query_params.get("notifications", ""))
        names = [one.namespace for one in asked]
        # No change is missed in between: waiters are woken by another callback of this loop.
        if news := outdated(asked, self._published.notifications(app_id, clusters, names)):
            return JSONResponse(news)
        watched = self._published.watched(app_id, clusters, names)
        return HeldPoll(self._watchers, names, watched, self._hold)

    async def one(self, request: Request) -> Response:
        """Answer the id of one namespace if it is another than the given one, as the clients before
        `v2` ask; hold the poll until it is, 30 seconds at most."""
        app_id, clusters = self._asker(request)
        name = bare(request.query_params.get("namespace") or "application")
        seen = _id(request.query_params.get("notificationId") or "-1")
        with self._watchers.waiting(self._published.watched(app_id, clusters, [name])) as waiter:
            ids = [n.id for n in self._published.notifications(app_id, clusters, [name])]
            newest = max(ids, default=seen)
            if newest == seen:
                wait = min(self._hold, _LEGACY_HOLD)
                timer = asyncio.get_running_loop().call_later(wait, give, waiter, None)
                try:
                    notification = await _wait(request, waiter)
                finally:
                    timer.cancel()
                newest = notification.id if notification else seen
        if newest == seen:
            return Response(status_code=304)
        return JSONResponse({"namespaceName": name, "notificationId": newest})

    def _asker(self, request: Request) -> tuple[str, list[str]]:
        """Return app and clusters of a poll. Raises InvalidRequest, and SignatureRefused."""
        query = request.query_params
        app_id = requests.app_id(query.get("appId", ""))
        self._gate.check(app_id, requests.signed(request))
        if not query.get("cluster"):
            raise InvalidRequest("The parameter `cluster` is missing.")
        return app_id, fallback(query["cluster"], query.get("dataCenter", ""))


async def _wait(request: Request, waiter: Waiter) -> Notification | None:
    """Hold a poll until its wait has ended, or the client has gone."""
    gone = asyncio.create_task(_disconnected(request))
    gone.add_done_callback(lambda _: give(waiter, None))
    try:
        return await waiter
    finally:
        gone.cancel()


@lru_cache(maxsize=64)
def _told(names: tuple[str, ...], notification: Notification | None) -> Response:
    """Return what a poll for these names is answered: all that ask alike share one answer."""
    if notification is None:
        return Response(status_code=304)
    news = [_news(name, [notification]) for name in names if _is_about(notification, name)]
    return JSONResponse(news) if news else Response(status_code=304)


def _is_about(notification: Notification, namespace: str) -> bool:
    return fold(notification.address.namespace) == fold(namespace)


def _id(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise InvalidRequest(f"The parameter `notificationId` must be a number, not {text[:32]!r}.")
    return int(text)


def parse_asked(text: str) -> list[WatchedNamespace]:
    """Read the parameter `notifications`; raises InvalidRequest if it holds no namespace.

    Of two spellings of one namespace the smaller id counts: better report a change twice than not
    at all.
    """
    try:
        entries = json.loads(text)
        named = [_asked(entry) for entry in entries if entry.get("namespaceName")]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        named = []
    asked: dict[str, WatchedNamespace] = {}
    for one in named:
        name = fold(one.namespace)
        if name and one.notification_id <= asked.get(name, one).notification_id:
            asked[name] = one
    if not asked or len(asked) > _MOST_NAMESPACES:
        raise InvalidRequest(
            "invalid notifications format: the parameter `notifications` must be a JSON array of "
            f'1 to {_MOST_NAMESPACES} entries {{"namespaceName":"application",'
            '"notificationId":-1}.'
        )
    return list(asked.values())


def outdated(
    asked: Iterable[WatchedNamespace], known: Iterable[Notification]
) -> list[dict[str, Any]]:
    """Return the news for each namespace asked for, if something newer is known."""
    by_namespace: dict[str, list[Notification]] = {}
    for one in known:
        by_namespace.setdefault(fold(one.address.namespace), []).append(one)
    found = ((one, by_namespace.get(fold(one.namespace), [])) for one in asked)
    return [
        _news(one.namespace, its)
        for one, its in found
        if any(its_one.id > one.notification_id for its_one in its)
    ]


def _asked(entry: dict[str, Any]) -> WatchedNamespace:
    namespace = entry["namespaceName"]
    if not (isinstance(namespace, str) and is_text(namespace)):
        raise TypeError("a namespace is named by a text")
    return WatchedNamespace(bare(namespace), int(entry.get("notificationId") or 0))


def _news(asked: str, notifications: list[Notification]) -> dict[str, Any]:
    """Return an entry of a poll's answer: its name in the client's spelling, its keys in ours."""
    return {
        "namespaceName": asked,
        "notificationId": max(one.id for one in notifications),
        "messages": {"details": {str(one.address): one.id for one in notifications}},
    }


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; discard what it sends until then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
