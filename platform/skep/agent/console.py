"""The admin port: health, readiness and metrics, on a listener that the supervisor has bound."""

import asyncio
import contextlib
import hmac
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.base.errors import PlatformError
from skep.base.files import fingerprint
from skep.base.sockets import accept_failures, tls
from skep.base.sockets.host_check import HostCheck
from skep.base.sockets.listening import BACKLOG
from skep.config.options.table import Options
from skep.metrics.exposition import in_otel_names, negotiate
from skep.wire import control

# The supervisor answers in milliseconds; report to a probe or scraper when it does not.
_PATIENCE = 2.0
# The best compression of 8 000 series takes 27 ms; this takes 1 ms for 14 % more bytes.
_QUICK = 1
_UNAUTHORIZED = {"www-authenticate": 'Bearer realm="platform"'}
# Seconds between two checks for a renewed certificate.
_RENEWAL = 2.0

log = logging.getLogger(__name__)


def build(control_socket: Path, token: str = "", naming: str = "platform") -> Starlette:
    """Return the console of the platform behind a control socket.

    With a `token`, /metrics requires it; probes without it are answered with yes or no. `naming` is
    that of the HTTP metrics.
    """
    pages = _Pages(control_socket, token, naming)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics", pages.metrics),
            # Where scrape jobs for Spring applications look.
            Route("/actuator/prometheus", pages.metrics),
        ],
        middleware=[Middleware(GZipMiddleware, compresslevel=_QUICK)],
    )


class _Pages:
    """What the admin port answers."""

    def __init__(self, control_socket: Path, token: str, naming: str) -> None:
        self._control_socket = control_socket
        self._expected = f"Bearer {token}".encode() if token else b""
        self._scrape = SharedScrape(control_socket, naming)

    async def index(self, request: Request) -> Response:
        return JSONResponse({"see": ["/healthz", "/readyz", "/metrics"]})

    async def healthz(self, request: Request) -> Response:
        answer = await _is_ready(self._control_socket)
        if "reason" not in answer:
            return JSONResponse({"alive": True})
        reason = {"reason": answer["reason"]} if self._knows_token(request) else {}
        return JSONResponse({"alive": False, **reason}, status_code=503)

    async def readyz(self, request: Request) -> Response:
        answer = await _is_ready(self._control_socket)
        if "reason" in answer:
            answer = {"ready": False, "missing": [answer["reason"]]}
        shown = answer if self._knows_token(request) else {"ready": answer["ready"]}
        return JSONResponse(shown, status_code=200 if answer["ready"] else 503)

    async def metrics(self, request: Request) -> Response:
        if not self._knows_token(request):
            text = "The token of --admin-token-file is required: Authorization: Bearer TOKEN\n"
            return Response(text, 401, headers=_UNAUTHORIZED, media_type="text/plain")
        try:
            async with asyncio.timeout(_PATIENCE):
                content_type, text = await self._scrape.text(request.headers.get("accept", ""))
        except (PlatformError, TimeoutError) as error:
            return Response(_why(error), status_code=503, media_type="text/plain")
        return Response(text, headers={"content-type": content_type})

    def _knows_token(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return not self._expected or hmac.compare_digest(given, self._expected)


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

    def __init__(self, control_socket: Path, naming: str) -> None:
        self._control_socket = control_socket
        self._naming = naming
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
        return render(in_otel_names(families) if self._naming == "otel" else families)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are the slot's."""
        yield


async def serve(
    listener: socket.socket, app: Starlette, options: Options, stop: asyncio.Event
) -> None:
    """Serve until `stop` is set, then finish answers for at most a second. Raises
    UnusableCertificate."""
    accept_failures.watch(asyncio.get_running_loop())
    files = options.admin_tls_cert, options.admin_tls_key
    context = tls.server_context(*files) if files[0] else None
    config = uvicorn.Config(
        HostCheck(app, options.allowed_hosts),
        interface="asgi3",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
        ws="none",
        ssl_context_factory=(lambda *_: context) if context else None,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    others: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    if context is not None:
        others.append(asyncio.create_task(_renew(context, *files)))
    await asyncio.wait({serving, *others}, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    server.should_exit = True
    await serving


async def _renew(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load the certificate whenever its files have changed, unless it is broken."""
    paths = [file for file in (certificate, key) if file]
    shown = fingerprint.contents(paths)
    while True:
        await asyncio.sleep(_RENEWAL)
        found = fingerprint.contents(paths)
        if found == shown:
            continue
        shown = found
        try:
            tls.server_context(certificate, key)  # a try: a context that fails half-way is broken
            tls.load(context, certificate, key)
        except tls.UnusableCertificate as error:
            log.warning("the admin port keeps its certificate: %s", error)
        else:
            log.info("the admin port shows a new certificate")
