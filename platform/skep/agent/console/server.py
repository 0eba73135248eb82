"""Serve the console on a listener that the supervisor has bound."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from skep.base.files import fingerprint
from skep.base.sockets import accept_failures, tls
from skep.base.sockets.host_check import HostCheck
from skep.base.sockets.listening import BACKLOG
from skep.config.options.table import Options

# Seconds between two checks for a renewed certificate.
_RENEWAL = 2.0

log = logging.getLogger(__name__)


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
