"""The clients' API: the config of a namespace, news of many, the address of the service."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.names import Address, bare, fallback, fold, is_legal, is_text
from skep.configserver.records import InvalidRequest, NotFound, Notification
from skep.configserver.store import Store
from skep.configserver.watchers import Waiter, Watchers

_ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# No client names more; Apollo itself stops near 100, where its URLs end.
_MOST_NAMESPACES = 1000


@dataclass(frozen=True, slots=True)
class WatchedNamespace:
    """One namespace of a poll, in the client's spelling without `.properties`, and the newest id
    that the client has seen."""

    namespace: str
    notification_id: int


class PullApi:
    """The endpoints of Apollo's config service; `hold` is how many seconds a poll may wait.

    Answers are always complete: the protocol does not negotiate incremental ones, and a client that
    does not know them would read an empty config.
    """

    def __init__(self, store: Store, watchers: Watchers, hold: float) -> None:
        self._store = store
        self._watchers = watchers
        self._hold = hold

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/configs/{app_id}/{cluster}/{namespace}", self.config),
            Route("/notifications/v2", self.notifications),
            Route("/services/config", self.services, methods=_ANY_METHOD),
        ]

    async def config(self, request: Request) -> Response:
        """Answer the release in force, or 304 if `releaseKey` says the client has it."""
        app_id, cluster = _app_id(request.path_params["app_id"]), request.path_params["cluster"]
        namespace = request.path_params["namespace"]
        clusters = fallback(cluster, request.query_params.get("dataCenter", ""))
        addresses = (Address(app_id, one, bare(namespace)) for one in clusters)
        release = next(filter(None, map(self._store.latest_release, addresses)), None)
        if release is None:
            raise NotFound(
                f"The app {app_id!r} has no published release of the namespace {namespace!r} "
                f"in {' or '.join(map(repr, clusters))}."
            )
        if request.query_params.get("releaseKey") == release.release_key:
            return Response(status_code=304)
        return JSONResponse(
            {
                "appId": app_id,
                "cluster": release.address.cluster,
                "namespaceName": namespace,
                "configurations": release.values(),
                "releaseKey": release.release_key,
            }
        )

    async def notifications(self, request: Request) -> Response:
        """Answer the namespaces that changed since the given ids; hold the poll until one does."""
        query = request.query_params
        app_id = _app_id(query.get("appId", ""))
        if not query.get("cluster"):
            raise InvalidRequest("The parameter `cluster` is missing.")
        asked = parse_asked(query.get("notifications", ""))
        clusters = fallback(query["cluster"], query.get("dataCenter", ""))
        namespaces = [one.namespace for one in asked]
        watched = (Address(app_id, c, namespace) for c in clusters for namespace in namespaces)
        # The order matters: wait first, then read, to miss no change in between.
        with self._watchers.waiting(watched) as waiter:
            known = self._store.notifications(app_id, clusters, namespaces)
            news = outdated(asked, known) or await self._wait(request, waiter, asked)
        return JSONResponse(news) if news else Response(status_code=304)

    async def services(self, request: Request) -> Response:
        """Answer this server only, by the name that the client used: a container's own address may
        not be reachable."""
        url = str(request.base_url)
        return JSONResponse(
            [
                {
                    "appName": "APOLLO-CONFIGSERVICE",
                    "instanceId": f"apollo-configservice:{url}",
                    "homepageUrl": url,
                }
            ]
        )

    async def _wait(
        self, request: Request, waiter: Waiter, asked: list[WatchedNamespace]
    ) -> list[dict[str, Any]]:
        """Hold the poll until there is news, time is up, or the client has gone."""
        gone = asyncio.create_task(_disconnected(request))
        either: set[asyncio.Future[Any]] = {waiter, gone}
        try:
            await asyncio.wait(either, timeout=self._hold, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        notification = waiter.result() if waiter.done() else None
        if notification is None:
            return []
        changed = fold(notification.address.namespace)
        return [_news(one, [notification]) for one in asked if fold(one.namespace) == changed]


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


def _app_id(app_id: str) -> str:
    if not is_legal(app_id):
        raise InvalidRequest(f"The app id {app_id!r} is missing or not legal.")
    return app_id


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; discard what it sends until then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
