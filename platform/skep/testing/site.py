"""The routes of plugins in a lab."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from skep.config.options.table import Options
from skep.metrics.instruments import Instruments
from skep.metrics.web import HttpMetrics
from skep.worker.http.coalesced_writes import HEADER, ID_IN_SCOPE
from skep.worker.http.middleware import Edge

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ERROR = "skep.testing.error"


class LabSite:
    """An application behind the edge: requests have a name, and bodies a limit. What the protocol
    of a web worker adds to an answer is added here.

    `state` is what lifespans have yielded. What no handler caught is not only answered with 500 but
    raised, so that a test shows it.
    """

    def __init__(self, app: "ASGIApp", state: Mapping[str, Any]) -> None:
        self._app = app
        self._state = state
        metrics = HttpMetrics(Instruments(CollectorRegistry(), "web"), lambda: 0)
        # It counts no requests: nothing in a lab is replaced after so many.
        self._edge = Edge(self._remember, metrics, lambda: None, Options())

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve a request, in a context of its own as on a platform."""
        scope["state"] = dict(self._state)
        statuses = []

        async def answer(message: "Message") -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                name = (HEADER, scope[ID_IN_SCOPE].encode())
                message = {**message, "headers": [*message.get("headers", ()), name]}
            await send(message)

        async def serve() -> None:
            await self._edge(scope, receive, answer)

        await asyncio.create_task(serve())
        if _ERROR in scope and statuses == [500]:
            raise scope[_ERROR]

    async def _remember(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # the refusal of a body is one too, but no 500
            scope[_ERROR] = error
            raise
