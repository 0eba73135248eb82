"""The config server as one ASGI app."""

import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.base.errors import UsageError
from skep.base.files.filelock import held
from skep.base.rundir import RunDir
from skep.config.options.table import Options
from skep.configserver.credentials import read_or_make_token
from skep.configserver.open_api import OpenApi, moment
from skep.configserver.pull_api import PullApi
from skep.configserver.records import InvalidRequest, NotFound
from skep.configserver.seed import seed
from skep.configserver.store import Store
from skep.configserver.watchers import Watchers

_log = logging.getLogger(__name__)


def create_app(store: Store, token: str, *, hold: float = 50.0) -> Starlette:
    """Return the app over an open store; writing needs the token.

    `hold` is how many seconds a poll waits for news: 1 to 90, as Apollo allows. Most proxies give
    up after Apollo's default of 60, so ours is less. Close `app.state.watchers`, the held polls,
    before you stop the app. Raises UsageError for another hold, or an empty token.
    """
    if not 1 <= hold <= 90:
        raise UsageError(f"The config server can hold polls for 1 to 90 seconds, not {hold:g}.")
    if not token:
        raise UsageError("The config server needs a token, or anybody could write to it.")
    watchers = Watchers()
    open_api = OpenApi(store, watchers, token)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        open_api.close()

    app = Starlette(
        routes=[
            *PullApi(store, watchers, hold).routes(),
            *open_api.routes(),
            Route("/health", _health),
        ],
        exception_handlers={
            HTTPException: _on_http_error,
            InvalidRequest: _on_refused,
            NotFound: _on_refused,
            sqlite3.Error: _on_store_error,
            ClientDisconnect: _on_disconnect,
        },
        lifespan=lifespan,
    )
    app.state.watchers = watchers
    return app


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Starlette]:
    """Open the database of a data directory for the block; yield its application.

    At its first start it is filled from the samples, with at least an empty release for each
    namespace. Raises AlreadyRunning when another process serves the directory, ConfigError when
    token, database or a sample cannot be used.
    """
    directory = RunDir(options.data_dir).configserver_dir
    complaint = f"Another config server uses {directory}: stop it, or give another --data-dir."
    async with held(directory / "lock", complaint):
        token = read_or_make_token(directory / "token")
        with Store(directory / "config.db") as store:
            samples = Path(options.config_samples)
            seed(store, samples, options.app_id, options.cluster, options.namespace)
            yield create_app(store, token)


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "UP"})


def _refusal(
    request: Request, status: int, message: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an error with the fields of both forms that Apollo uses."""
    return JSONResponse(
        {
            "timestamp": moment(time.time_ns() // 1_000_000),
            "status": status,
            "error": HTTPStatus(status).phrase,
            "message": message,
            "path": request.url.path,
        },
        status_code=status,
        headers=headers,
    )


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return _refusal(request, error.status_code, error.detail, headers)


async def _on_refused(request: Request, error: Exception) -> Response:
    return _refusal(request, 404 if isinstance(error, NotFound) else 400, str(error))


async def _on_store_error(request: Request, error: Exception) -> Response:
    _log.error("the config server's file failed: %s", error, exc_info=error)
    return _refusal(request, 500, f"The config server's file failed: {error}.")


async def _on_disconnect(request: Request, error: Exception) -> Response:
    # The client has gone; nothing reads this.
    return Response(status_code=400)
