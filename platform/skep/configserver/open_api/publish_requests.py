"""Publishes that wait, in the Open API: calls of ours."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.publish_requests import PublishRequest
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.open_api.releases import release_title


class PublishRequestsApi:
    """Asking for a publish, approving and withdrawing it."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._requests = context.desk.requests

    def routes(self, env: str, namespace: str) -> list[Route]:
        """Return the routes below the paths of the environment and of a namespace."""
        one = f"{env}/publish-requests/{{request_id:int}}"
        return [
            Route(f"{namespace}/publish-requests", self.of_namespace),
            Route(f"{namespace}/publish-requests", self.ask, methods=["POST"]),
            Route(f"{env}/publish-requests", self.open),
            Route(f"{one}/approval", self.approve, methods=["PUT"]),
            Route(one, self.withdraw, methods=["DELETE"]),
        ]

    async def of_namespace(self, request: Request) -> Response:
        """Answer the requests of a namespace, the newest first."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        return JSONResponse([document(one) for one in self._requests.of_namespace(actor, at)])

    async def open(self, request: Request) -> Response:
        """Answer the open requests of the apps that the token may read."""
        actor = self._context.guard.actor(request)
        return JSONResponse([document(one) for one in self._requests.open(actor)])

    async def ask(self, request: Request) -> Response:
        """Ask for a publish, at the time `at` if it is given; answer the request."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        name = requests.text(body, "releasedBy", requests.OPERATOR)
        due_at = due_time(requests.text(body, "at", needed=False))
        made = await self._context.write(
            self._requests.ask,
            replace(actor, name=name),
            requests.address(request),
            release_title(body),
            due_at,
        )
        return JSONResponse(document(made))

    async def approve(self, request: Request) -> Response:
        """Approve a request; answer it as it is then."""
        actor = self._context.operator(request)
        number = requests.path_id(request, "request_id")
        done = await self._context.write(self._requests.approve, actor, number)
        return JSONResponse(document(done))

    async def withdraw(self, request: Request) -> Response:
        """End an open request."""
        actor = self._context.operator(request)
        number = requests.path_id(request, "request_id")
        await self._context.write(self._requests.withdraw, actor, number)
        return Response()


def due_time(text: str) -> int:
    """Return a time in milliseconds since the epoch, 0 for an empty text. Raises InvalidRequest
    unless it is ISO 8601 with an offset."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("it has no offset")
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"The time {text[:40]!r} is not like 2030-01-31T18:00:00+01:00: {error}."
        ) from error


def document(one: PublishRequest) -> dict[str, Any]:
    """Return a request as the API shows it."""
    return {
        "id": one.id,
        **documents.place(one.address),
        "releaseTitle": one.title,
        "releaseComment": one.comment,
        "at": documents.moment(one.due_at) if one.due_at else None,
        "requestedBy": one.requested_by,
        "requestedTime": documents.moment(one.requested_at),
        "approvedBy": one.approved_by or None,
        "state": one.state.name.lower(),
        "reason": one.reason or None,
        "releaseId": one.release_id or None,
    }
