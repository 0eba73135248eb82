"""All spans of one worker."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from skep.base.telemetry import Telemetry
from skep.tracing.deliveries import TracedEngine
from skep.tracing.provider import Provider
from skep.tracing.requests import TracedRequests
from skep.tracing.runs import RunSpans

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope


class WorkerSpans:
    """Runs of tasks, listeners and crons are traced from now on; requests and deliveries where
    `requests` and `engine` wrap what serves and what keeps them."""

    def __init__(self, provider: Provider, telemetry: Telemetry) -> None:
        self._provider = provider
        self._tracer = provider.tracer
        provider.become_global()
        RunSpans(self._tracer, telemetry)
        self.close = provider.close

    def requests(self, app: "ASGIApp", route: "Callable[[Scope], str]") -> "ASGIApp":
        """Return the application with a span for each request; `route` returns the template of a
        matched route."""
        return TracedRequests(app, self._tracer, route)

    def engine(self, engine: Any) -> Any:
        """Return the engine with a span for each `put`."""
        return TracedEngine(engine, self._tracer)
