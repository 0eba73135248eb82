"""`/metrics` of the config server, in Prometheus' text format."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import Response

from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.watchers import Watchers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# The first word of the path, as the label `api`; any other is `other`, so that no client can make
# labels.
_APIS = frozenset(
    [
        "configs",
        "configfiles",
        "notifications",
        "services",
        "openapi",
        "apps",
        "releases",
        "instances",
        "appnamespaces",
        "tokens",
        "audit",
        "portal",
        "health",
        "metrics",
    ]
)


class ServerMetrics:
    """The counters of one server."""

    def __init__(self, watchers: Watchers, gate: AccessGate) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "configserver_requests",
            "Requests answered, by the first word of their path.",
            ["api", "status"],
            registry=self._registry,
        )
        self._notifications = Counter(
            "configserver_notifications",
            "Changes that clients were notified of: releases, rollbacks, rules, deletions.",
            registry=self._registry,
        )
        held = Gauge("configserver_held_polls", "Polls held now.", registry=self._registry)
        held.set_function(lambda: watchers.held)
        refused = Gauge(
            "configserver_refused_signatures",
            "Requests refused for their signature since the start.",
            registry=self._registry,
        )
        refused.set_function(lambda: gate.refused)

    def count_answer(self, path: str, status: int) -> None:
        """Count an answer with this status to a request for this path."""
        word = path.lstrip("/").partition("/")[0]
        api = word if word in _APIS else "other"
        self._requests.labels(api, str(status)).inc()

    def count_notification(self) -> None:
        """Count a change that clients are notified of."""
        self._notifications.inc()

    async def show(self, request: Request) -> Response:
        """Answer all metrics."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class RequestCounter:
    """Wraps an ASGI application and counts what it answers."""

    def __init__(self, app: Any, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count_answer(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, counted)
