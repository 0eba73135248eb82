"""The admin port: health, readiness, metrics."""

import asyncio
import hmac
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.base.errors import PlatformError
from skep.metrics.exposition import negotiate
from skep.wire import control

# The supervisor answers in milliseconds; report to a probe or scraper when it does not.
_PATIENCE = 2.0
_UNAUTHORIZED = {"www-authenticate": 'Bearer realm="platform"'}


def build(control_socket: Path, token: str = "") -> Starlette:
    """Return the console of the platform behind a control socket.

    With a `token`, /metrics requires it; probes without it are answered with yes or no.
    """
    expected = f"Bearer {token}".encode()
    scrape = SharedScrape(control_socket)

    def knows_token(request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return not token or hmac.compare_digest(given, expected)

    async def index(request: Request) -> Response:
        return JSONResponse({"see": ["/healthz", "/readyz", "/metrics"]})

    async def healthz(request: Request) -> Response:
        answer = await _is_ready(control_socket)
        if "reason" not in answer:
            return JSONResponse({"alive": True})
        reason = {"reason": answer["reason"]} if knows_token(request) else {}
        return JSONResponse({"alive": False, **reason}, status_code=503)

    async def readyz(request: Request) -> Response:
        answer = await _is_ready(control_socket)
        if "reason" in answer:
            answer = {"ready": False, "missing": [answer["reason"]]}
        shown = answer if knows_token(request) else {"ready": answer["ready"]}
        return JSONResponse(shown, status_code=200 if answer["ready"] else 503)

    async def metrics(request: Request) -> Response:
        if not knows_token(request):
            text = "The token of --admin-token-file is required: Authorization: Bearer TOKEN\n"
            return Response(text, 401, headers=_UNAUTHORIZED, media_type="text/plain")
        try:
            async with asyncio.timeout(_PATIENCE):
                content_type, text = await scrape.text(request.headers.get("accept", ""))
        except (PlatformError, TimeoutError) as error:
            return Response(_why(error), status_code=503, media_type="text/plain")
        return Response(text, headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


async def _is_ready(control_socket: Path) -> dict[str, Any]:
    """Return the supervisor's answer, or the `reason` why there is none."""
    try:
        async with asyncio.timeout(_PATIENCE):
            answer: dict[str, Any] = await control.ask(control_socket, "ready")
            return answer
    except (PlatformError, TimeoutError) as error:
        return {"reason": _why(error)}


def _why(error: Exception) -> str:
    return str(error) or f"The supervisor did not answer within {_PATIENCE:g} s."


class SharedScrape:
    """Asks the supervisor for the metrics once, however many clients want them at the same time:
    it answers few questions at a time, and the command line and the probes need some."""

    def __init__(self, control_socket: Path) -> None:
        self._control_socket = control_socket
        self._running: dict[str, asyncio.Task[str]] = {}
        self._turn = asyncio.Lock()

    async def text(self, accept: str) -> tuple[str, str]:
        """Return the content type and the metrics for a header `Accept`. Raises PlatformError."""
        content_type, _ = negotiate(accept)
        if (running := self._running.get(content_type)) is None:
            running = asyncio.create_task(self._ask(accept))
            self._running[content_type] = running
            running.add_done_callback(lambda _: self._running.pop(content_type))
        # A client that gives up must not cancel the others' scrape.
        return content_type, await asyncio.shield(running)

    async def _ask(self, accept: str) -> str:
        async with self._turn:
            families = await control.ask(self._control_socket, "metrics")
        _, render = negotiate(accept)
        return render(families)
