"""The admin port: health, readiness, metrics."""

import asyncio
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.base.errors import PlatformError
from skep.metrics.exposition import negotiate
from skep.wire import control

# The supervisor answers in milliseconds; a probe or a scraper should hear of it when it does not.
_PATIENCE = 2.0


def build(control_socket: Path) -> Starlette:
    """Return the console of the platform behind a control socket."""

    async def index(request: Request) -> Response:
        return JSONResponse({"see": ["/healthz", "/readyz", "/metrics"]})

    async def healthz(request: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE):
                await control.ask(control_socket, "ready")
        except (PlatformError, TimeoutError) as error:
            return JSONResponse({"alive": False, "reason": _why(error)}, status_code=503)
        return JSONResponse({"alive": True})

    async def readyz(request: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await control.ask(control_socket, "ready")
        except (PlatformError, TimeoutError) as error:
            answer = {"ready": False, "missing": [_why(error)]}
        return JSONResponse(answer, status_code=200 if answer["ready"] else 503)

    async def metrics(request: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE):
                families = await control.ask(control_socket, "metrics")
        except (PlatformError, TimeoutError) as error:
            return Response(_why(error), status_code=503, media_type="text/plain")
        content_type, render = negotiate(request.headers.get("accept", ""))
        return Response(render(families), headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ]
    )


def _why(error: Exception) -> str:
    return str(error) or f"The supervisor did not answer within {_PATIENCE:g} s."
