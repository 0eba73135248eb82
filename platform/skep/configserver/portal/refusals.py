"""Refusals as pages."""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from skep.configserver.http.errors import STATUS
from skep.configserver.model.refusals import RoleMissing
from skep.configserver.portal.context import PORTAL
from skep.pages.refusals import PageRefused
from skep.pages.site import PageSite

_log = logging.getLogger(__name__)


def handlers(site: PageSite) -> dict[Any, Callable[[Request, Exception], Any]]:
    """Return what the portal answers to each exception of a request."""

    async def on_refusal(request: Request, error: Exception) -> Response:
        return site.problem(request, STATUS[type(error)], str(error))

    async def on_missing_role(request: Request, error: Exception) -> Response:
        return site.problem(request, 403, missing_role(error))

    async def on_page_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, PageRefused)
        return site.problem(request, error.status, str(error))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return site.problem(request, error.status_code, error.detail)

    async def on_file_error(request: Request, error: Exception) -> Response:
        return site.problem(request, *explained(error))

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=400)

    return {
        **dict.fromkeys(STATUS, on_refusal),
        RoleMissing: on_missing_role,
        PageRefused: on_page_refusal,
        HTTPException: on_http_error,
        sqlite3.Error: on_file_error,
        ClientDisconnect: on_disconnect,
    }


def explained(error: Exception) -> tuple[int, str]:
    """Return the status and the sentence of a failed write; the log gets that of the file."""
    if isinstance(error, sqlite3.Error):
        _log.error("the config server's file failed: %s", error, exc_info=error)
        return 500, f"Nothing was changed: the config server's file failed ({error})."
    return 400, str(error)


def missing_role(error: Exception) -> str:
    """Return the sentence of RoleMissing for a person with an account."""
    return f"Your account {str(error).removeprefix(f'The token {PORTAL!r} ')}"
