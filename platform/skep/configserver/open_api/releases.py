"""Releases in the Open API."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext


class ReleasesApi:
    """Publishing, the latest release, rolling back."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, env: str, namespace: str) -> list[Route]:
        """Return the routes below the paths of the environment and of a namespace."""
        return [
            Route(f"{namespace}/releases", self.publish, methods=["POST"]),
            Route(f"{namespace}/releases/latest", self.latest),
            Route(f"{env}/releases/{{release_id:row}}/rollback", self.roll_back, methods=["PUT"]),
        ]

    async def publish(self, request: Request) -> Response:
        """Put the items of the namespace in force; answer the release."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        title = release_title(body)
        actor = replace(actor, name=requests.text(body, "releasedBy", requests.OPERATOR))
        at = requests.address(request)
        release = await self._context.write(self._desk.publisher.publish, actor, at, title)
        return JSONResponse(documents.release(release))

    async def latest(self, request: Request) -> Response:
        """Answer the release in force, or 200 and nothing if there is none, as Apollo does."""
        actor = self._context.guard.actor(request)
        release = self._desk.view.latest_release(actor, requests.address(request))
        return JSONResponse(documents.release(release)) if release else Response()

    async def roll_back(self, request: Request) -> Response:
        """Abandon a release, or with `toReleaseId` all after that one; `restoreItems=true` puts the
        items back too."""
        actor = self._context.operator(request)
        await self._context.write(
            self._desk.publisher.roll_back,
            actor,
            requests.path_id(request, "release_id"),
            requests.number(request, "toReleaseId", 0),
            restore=requests.flag(request, "restoreItems"),
        )
        return Response()


def release_title(body: dict[str, Any]) -> ReleaseTitle:
    """Return what a body says of a release. Raises InvalidRequest."""
    return ReleaseTitle(
        requests.text(body, "releaseTitle", requests.TITLE),
        requests.text(body, "releaseComment", requests.RELEASE_COMMENT, needed=False),
        body.get("isEmergencyPublish") is True,
    )
