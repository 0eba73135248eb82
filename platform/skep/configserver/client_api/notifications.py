"""`/notifications`: news of one namespace or of many, by long polls."""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import requests
from skep.configserver.model.names import bare, fallback, fold, is_text
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.releases import Notification
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.published import Published
from skep.configserver.reading.watchers import Waiter, Watchers, give

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
        app_id, clusters = self._asker(request)
        asked = parse_asked(request.query_params.get("notifications", ""))
        names = [one.namespace for one in asked]
        # The order matters: wait first, then read, to miss no change in between.
        with self._watchers.waiting(self._published.watched(app_id, clusters, names)) as waiter:
            known = self._published.notifications(app_id, clusters, names)
            news = outdated(asked, known)
            if not news:
                notification = await _wait(request, waiter, self._hold)
                news = [
                    _news(one, [notification])
                    for one in asked
                    if notification and _is_about(notification, one.namespace)
                ]
        return JSONResponse(news) if news else Response(status_code=304)

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
                notification = await _wait(request, waiter, wait)
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


async def _wait(request: Request, waiter: Waiter, seconds: float) -> Notification | None:
    """Hold a poll until there is news, time is up, or the client has gone."""
    # One future for all three: thousands of polls are held, and each object of one counts.
    gone = asyncio.create_task(_disconnected(request))
    gone.add_done_callback(lambda _: give(waiter, None))
    timer = asyncio.get_running_loop().call_later(seconds, give, waiter, None)
    try:
        return await waiter
    finally:
        timer.cancel()
        gone.cancel()


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
        _news(one, its)
        for one, its in found
        if any(its_one.id > one.notification_id for its_one in its)
    ]


def _asked(entry: dict[str, Any]) -> WatchedNamespace:
    namespace = entry["namespaceName"]
    if not (isinstance(namespace, str) and is_text(namespace)):
        raise TypeError("a namespace is named by a text")
    return WatchedNamespace(bare(namespace), int(entry.get("notificationId") or 0))


def _news(asked: WatchedNamespace, notifications: list[Notification]) -> dict[str, Any]:
    """Return an entry of a poll's answer: its name in the client's spelling, its keys in ours."""
    return {
        "namespaceName": asked.namespace,
        "notificationId": max(one.id for one in notifications),
        "messages": {"details": {str(one.address): one.id for one in notifications}},
    }


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; discard what it sends until then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
