"""Items in the Open API."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.editing.items import WriteMode
from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.rights import Actor


class ItemsApi:
    """The calls on items. A write with the header `If-Match: <revision>` is refused with 409 if the
    item was changed since then; `ETag` names the revision."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, namespace: str) -> list[Route]:
        """Return the routes below the path of a namespace."""
        keys = (f"{namespace}/items/{{key}}", f"{namespace}/encodedItems/{{encoded:path}}")
        return [
            Route(f"{namespace}/items", self.page),
            Route(f"{namespace}/items", self.create, methods=["POST"]),
            *(Route(key, self.item) for key in keys),
            *(Route(key, self.update, methods=["PUT"]) for key in keys),
            *(Route(key, self.delete, methods=["DELETE"]) for key in keys),
        ]

    async def page(self, request: Request) -> Response:
        """Answer one page of a namespace's items."""
        actor = self._context.guard.actor(request)
        page, size = requests.page(request, 50)
        items = self._desk.view.items(actor, requests.address(request))
        content = [documents.item(item) for item in items[page * size : (page + 1) * size]]
        return JSONResponse(documents.paged(content, page, size, len(items)))

    async def item(self, request: Request) -> Response:
        """Answer one item."""
        actor = self._context.guard.actor(request)
        return self._answer(actor, requests.address(request), requests.key(request))

    async def create(self, request: Request) -> Response:
        """Add an item; answer it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        actor = replace(actor, name=requests.text(body, "dataChangeCreatedBy", requests.OPERATOR))
        draft = requests.draft(body)
        at = requests.address(request)
        await self._context.write(self._desk.items.put, actor, at, draft, "create")
        answer = self._answer(actor, at, draft.key)
        answer.headers.update(await self._faults(actor, at))
        return answer

    async def update(self, request: Request) -> Response:
        """Change an item; with `createIfNotExists=true` it need not exist."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        draft = requests.draft(body, requests.revision(request))
        if draft.key != requests.key(request):
            raise InvalidRequest(
                f"The key of the body, {draft.key!r}, is not {requests.key(request)!r}."
            )
        mode: WriteMode = "update"
        name = requests.text(body, "dataChangeLastModifiedBy", requests.OPERATOR)
        if requests.flag(request, "createIfNotExists"):
            mode = "either"
            requests.text(body, "dataChangeCreatedBy", requests.OPERATOR)
        actor = replace(actor, name=name)
        at = requests.address(request)
        await self._context.write(self._desk.items.put, actor, at, draft, mode)
        return Response(headers=await self._faults(actor, at))

    async def delete(self, request: Request) -> Response:
        """Delete an item."""
        actor = self._context.guard.actor(request)
        actor = replace(actor, name=requests.operator(request))
        at, key, base = (
            requests.address(request),
            requests.key(request),
            requests.revision(request),
        )
        await self._context.write(self._desk.items.delete, actor, at, key, base)
        return Response(headers=await self._faults(actor, at))

    async def _faults(self, actor: Actor, address: Address) -> dict[str, str]:
        """Return a header with the number of rules that a publish would break now, if any: what is
        saved may be a step on the way."""
        found = await self._context.write(self._desk.policies.faults, actor, address)
        return {"Release-Faults": str(len(found))} if found else {}

    def _answer(self, actor: Actor, address: Address, key: str) -> Response:
        item = self._desk.view.item(actor, address, key)
        return JSONResponse(documents.item(item), headers={"ETag": f'"{item.revision}"'})
