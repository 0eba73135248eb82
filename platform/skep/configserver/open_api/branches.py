"""Branches in the Open API."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.branches import Branch, GrayRule
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import NotFound
from skep.configserver.model.rights import Actor
from skep.configserver.open_api.releases import release_title


class BranchesApi:
    """Making and ending branches, their rules, and gray releases."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, namespace: str) -> list[Route]:
        """Return the routes below the path of a namespace."""
        branch = f"{namespace}/branches/{{branch}}"
        return [
            Route(f"{namespace}/branches", self.find),
            Route(f"{namespace}/branches", self.create, methods=["POST"]),
            Route(branch, self.delete, methods=["DELETE"]),
            Route(f"{branch}/rules", self.rules),
            Route(f"{branch}/rules", self.set_rules, methods=["PUT"]),
            Route(f"{branch}/releases", self.publish, methods=["POST"]),
            Route(f"{branch}/gray-del-releases", self.publish, methods=["POST"]),
            Route(f"{branch}/merge", self.merge, methods=["POST"]),
        ]

    async def find(self, request: Request) -> Response:
        """Answer the branch of a namespace with its items, or 200 and nothing, as Apollo does."""
        actor = self._context.guard.actor(request)
        branch = self._desk.view.branch(actor, requests.address(request))
        return self._answer(actor, branch.address) if branch else Response()

    async def create(self, request: Request) -> Response:
        """Make the branch of a namespace; answer it."""
        actor = self._context.operator(request)
        at = requests.address(request)
        branch = await self._context.write(self._desk.branches.create, actor, at)
        return self._answer(actor, branch.address)

    async def delete(self, request: Request) -> Response:
        """End a branch."""
        actor = self._context.operator(request)
        at, name = requests.address(request), request.path_params["branch"]
        await self._context.write(self._desk.branches.delete, actor, at, name)
        return Response()

    async def rules(self, request: Request) -> Response:
        """Answer the rules of a branch."""
        actor = self._context.guard.actor(request)
        return JSONResponse(documents.rules(self._branch(actor, request)))

    async def set_rules(self, request: Request) -> Response:
        """Replace the rules of a branch."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        actor = replace(actor, name=requests.operator(request))
        rules = [_rule(one) for one in requests.items_of(body, "ruleItems")]
        at, name = requests.address(request), request.path_params["branch"]
        await self._context.write(self._desk.branches.set_rules, actor, at, name, rules)
        return Response()

    async def publish(self, request: Request) -> Response:
        """Release a branch, without the keys in `grayDelKeys`; answer the release."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        title, removed = release_title(body), requests.texts_of(body, "grayDelKeys")
        actor = replace(actor, name=requests.text(body, "releasedBy", requests.OPERATOR))
        at, name = requests.address(request), request.path_params["branch"]
        act = self._desk.branches.publish
        release = await self._context.write(act, actor, at, name, title, removed)
        return JSONResponse(documents.release(release))

    async def merge(self, request: Request) -> Response:
        """Write a branch into its master and publish that; with `deleteBranch=true` end it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        title = release_title(body)
        actor = replace(actor, name=requests.text(body, "releasedBy", requests.OPERATOR))
        at, name = requests.address(request), request.path_params["branch"]
        delete = requests.flag(request, "deleteBranch")
        act = self._desk.branches.merge
        release = await self._context.write(act, actor, at, name, title, delete=delete)
        return JSONResponse(documents.release(release))

    def _branch(self, actor: Actor, request: Request) -> Branch:
        at, name = requests.address(request), request.path_params["branch"]
        branch = self._desk.view.branch(actor, at)
        if branch is None or branch.address.cluster != name:
            raise NotFound(f"There is no branch {name!r} of {at}.")
        return branch

    def _answer(self, actor: Actor, address: Address) -> Response:
        namespace = self._desk.view.namespace(actor, address)
        items = self._desk.view.items(actor, address)
        return JSONResponse(documents.namespace(namespace, items))


def _rule(fields: dict[str, Any]) -> GrayRule:
    return GrayRule(
        requests.text(fields, "clientAppId", 64),
        tuple(requests.texts_of(fields, "clientIpList")),
        tuple(requests.texts_of(fields, "clientLabelList")),
    )
