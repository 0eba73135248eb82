"""Refusals as HTTP answers."""

import logging
import sqlite3
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from skep.configserver.http.documents import moment
from skep.configserver.model.refusals import (
    ApprovalMissing,
    EditConflict,
    InvalidRequest,
    NotFound,
    ReleaseRefused,
    RoleMissing,
    SignatureRefused,
    TokenRefused,
)

_log = logging.getLogger(__name__)
STATUS: dict[type[Exception], int] = {
    InvalidRequest: 400,
    ReleaseRefused: 400,
    TokenRefused: 401,
    SignatureRefused: 401,
    RoleMissing: 403,
    ApprovalMissing: 403,
    NotFound: 404,
    EditConflict: 409,
}


# What a request may raise, and `answer` answers.
FORESEEN: tuple[type[Exception], ...] = (*STATUS, sqlite3.Error)


def handlers() -> dict[Any, Callable[[Request, Exception], Any]]:
    """Return what the app answers to each exception of a request."""
    return {
        **dict.fromkeys(FORESEEN, _on_foreseen),
        HTTPException: _on_http_error,
        ClientDisconnect: _on_disconnect,
    }


def document(status: int, message: str, path: str) -> dict[str, Any]:
    """Return an error with the fields of both forms that Apollo uses."""
    return {
        "timestamp": moment(time.time_ns() // 1_000_000),
        "status": status,
        "error": HTTPStatus(status).phrase,
        "message": message,
        "path": path,
    }


def answer(request: Request, error: Exception) -> Response:
    """Return the answer to one of `FORESEEN`."""
    if isinstance(error, sqlite3.Error):
        _log.error("the config server's file failed: %s", error, exc_info=error)
        message = f"The config server's file failed: {error}."
        return JSONResponse(document(500, message, request.url.path), 500)
    status = STATUS[type(error)]
    body = document(status, str(error), request.url.path)
    headers = {}
    if isinstance(error, EditConflict):
        body |= {"yours": error.yours, "theirs": error.theirs}
    if isinstance(error, ReleaseRefused):
        body["faults"] = error.faults
    if isinstance(error, SignatureRefused):
        body["reason"] = error.reason
        headers["WWW-Authenticate"] = f'Apollo error="{error.reason}"'
    if isinstance(error, TokenRefused):
        headers["WWW-Authenticate"] = "Token"
    return JSONResponse(body, status, headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    body = document(error.status_code, error.detail, request.url.path)
    return JSONResponse(body, error.status_code, headers)


async def _on_foreseen(request: Request, error: Exception) -> Response:
    return answer(request, error)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    # The client has gone; no one reads this.
    return Response(status_code=400)
