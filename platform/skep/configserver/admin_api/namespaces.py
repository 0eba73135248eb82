"""Apps, clusters, namespaces and items in the admin API."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.apps import ConfigNamespace
from skep.configserver.model.items import Item
from skep.configserver.model.names import Address, bare, fold
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import namespaces as rows


class AdminNamespacesApi:
    """What editors see of namespaces and their items, and what the Open API has no call for. The
    names of clusters and of published namespaces need no token where clients may read unsigned."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, namespace: str) -> list[Route]:
        """Return the routes; `namespace` is the path of one."""
        app, clusters = "/apps/{app_id}", "/apps/{app_id}/clusters"
        return [
            Route("/apps", self.apps),
            Route(app, self.app),
            Route(clusters, self.clusters),
            Route(f"{clusters}/{{cluster}}", self.cluster),
            Route(f"{clusters}/{{cluster}}/namespaces", self.namespaces),
            Route(f"{clusters}/{{cluster}}/namespaces", self.create, methods=["POST"]),
            Route(f"{app}/appnamespaces", self.defined),
            Route(f"{app}/appnamespaces/{{namespace}}", self.undefine, methods=["DELETE"]),
            Route(f"{app}/namespaces/publish_info", self.pending),
            Route("/appnamespaces/{namespace}/namespaces", self.of_public),
            Route("/appnamespaces/{namespace}/associated-namespaces/count", self.overriding),
            Route("/items-search/key-and-value", self.search),
            Route(namespace, self.namespace),
            Route(namespace, self.delete, methods=["DELETE"]),
            Route(f"{namespace}/revocation", self.revoke, methods=["PUT"]),
            Route(f"{namespace}/items", self.items),
            Route(f"{namespace}/items-with-page", self.items_page),
            Route(f"{namespace}/items/{{key}}", self.item),
            Route(f"{namespace}/encodedItems/{{encoded:path}}", self.item),
            Route(f"{namespace}/itemset", self.save, methods=["POST"]),
        ]

    async def apps(self, request: Request) -> Response:
        """Answer the apps that the token may read."""
        actor = self._context.guard.actor(request)
        return JSONResponse([documents.app(app) for app in self._desk.view.apps(actor)])

    async def app(self, request: Request) -> Response:
        """Answer one app."""
        actor = self._context.guard.actor(request)
        found = self._desk.view.app(actor, request.path_params["app_id"])
        return JSONResponse(documents.app(found))

    async def clusters(self, request: Request) -> Response:
        """Answer the clusters of an app."""
        app_id = request.path_params["app_id"]
        actor, _ = self._context.guard.reader(request, app_id)
        found = self._desk.view.clusters(actor, app_id)
        return JSONResponse([documents.admin_cluster(cluster) for cluster in found])

    async def cluster(self, request: Request) -> Response:
        """Answer one cluster."""
        actor, path = self._context.guard.actor(request), request.path_params
        found = self._desk.view.cluster(actor, path["app_id"], path["cluster"])
        return JSONResponse(documents.admin_cluster(found))

    async def namespaces(self, request: Request) -> Response:
        """Answer the namespaces of a cluster; without a token only those that are published."""
        path = request.path_params
        actor, by_token = self._context.guard.reader(request, path["app_id"])
        view = self._desk.view
        found = view.namespaces(actor, path["app_id"], path["cluster"])
        shown = [one for one in found if by_token or view.latest_release(actor, one.address)]
        return JSONResponse([documents.admin_namespace(one) for one in shown])

    async def namespace(self, request: Request) -> Response:
        """Answer one namespace."""
        _, found = self._found(request)
        return JSONResponse(documents.admin_namespace(found))

    async def create(self, request: Request) -> Response:
        """Make a namespace in one cluster, also one that overrides a public one; answer it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        operator = requests.text(body, "dataChangeCreatedBy", requests.OPERATOR)
        name = bare(requests.text(body, "namespaceName"))
        at = Address(request.path_params["app_id"], request.path_params["cluster"], name)
        actor = replace(actor, name=operator)
        made = await self._context.write(self._desk.catalogue.create_namespace, actor, at)
        return JSONResponse(documents.admin_namespace(self._desk.view.namespace(actor, made)))

    async def delete(self, request: Request) -> Response:
        """Delete a namespace of one cluster."""
        actor = self._context.operator(request)
        at = requests.address(request)
        await self._context.write(self._desk.catalogue.delete_namespace, actor, at)
        return Response()

    async def defined(self, request: Request) -> Response:
        """Answer the namespaces that an app defines."""
        actor = self._context.guard.actor(request)
        found = self._desk.view.app_namespaces(actor, request.path_params["app_id"])
        return JSONResponse([documents.app_namespace(one) for one in found])

    async def undefine(self, request: Request) -> Response:
        """Delete a namespace in all clusters of an app."""
        actor = self._context.operator(request)
        path = request.path_params
        name = bare(path["namespace"])
        act = self._desk.catalogue.delete_app_namespace
        await self._context.write(act, actor, path["app_id"], name)
        return Response()

    async def pending(self, request: Request) -> Response:
        """Answer for each cluster whether it has items that are not published."""
        actor = self._context.guard.actor(request)
        view, app_id = self._desk.view, request.path_params["app_id"]
        return JSONResponse(
            {
                cluster.name: any(
                    view.is_pending(actor, one.address)
                    for one in view.namespaces(actor, app_id, cluster.name)
                )
                for cluster in view.clusters(actor, app_id)
            }
        )

    async def of_public(self, request: Request) -> Response:
        """Answer the namespaces that have the name of a public one, its own among them."""
        actor = self._context.guard.actor(request)
        found = self._public(request, actor)
        return JSONResponse([documents.admin_namespace(one) for one in found])

    async def overriding(self, request: Request) -> Response:
        """Answer how many namespaces of other apps override a public one."""
        actor = self._context.guard.actor(request)
        public = rows.public_namespace(self._desk.database.reader, request.path_params["namespace"])
        owner = fold(public.app_id) if public else ""
        found = self._public(request, actor)
        return JSONResponse(sum(fold(one.address.app_id) != owner for one in found))

    async def items(self, request: Request) -> Response:
        """Answer all items."""
        found, namespace = self._items(request)
        return JSONResponse([documents.admin_item(item, namespace.id) for item in found])

    async def items_page(self, request: Request) -> Response:
        """Answer one page of the items."""
        found, namespace = self._items(request)
        page, size = requests.page(request, 50)
        content = [
            documents.admin_item(item, namespace.id)
            for item in found[page * size : (page + 1) * size]
        ]
        return JSONResponse(documents.paged(content, page, size, len(found)))

    async def search(self, request: Request) -> Response:
        """Answer one page of the items that have `key` in their key and `value` in their value."""
        actor, query = self._context.guard.actor(request), request.query_params
        page, size = requests.page(request, 20)
        found = self._desk.view.search(actor, query.get("key", ""), query.get("value", ""))
        content = [
            {**documents.place(at), "key": item.key, "value": item.value}
            for at, item in found[page * size : (page + 1) * size]
        ]
        return JSONResponse(documents.paged(content, page, size, len(found)))

    async def item(self, request: Request) -> Response:
        """Answer one item."""
        actor, namespace = self._found(request)
        item = self._desk.view.item(actor, namespace.address, requests.key(request))
        headers = {"ETag": f'"{item.revision}"'}
        return JSONResponse(documents.admin_item(item, namespace.id), headers=headers)

    async def save(self, request: Request) -> Response:
        """Write and delete several items: all or none. An item with a `revision` is a conflict if
        it was changed since then."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        name = requests.text(body, "dataChangeLastModifiedBy", requests.OPERATOR)
        made, changed = (requests.items_of(body, f"{verb}Items") for verb in ("create", "update"))
        drafts = [requests.draft(one, _revision(one), keyless=True) for one in made]
        drafts += [requests.draft(one, _revision(one)) for one in changed]
        deleted = [requests.text(one, "key") for one in requests.items_of(body, "deleteItems")]
        at, actor = requests.address(request), replace(actor, name=name)
        await self._context.write(self._desk.items.save, actor, at, drafts, deleted)
        return Response()

    async def revoke(self, request: Request) -> Response:
        """Discard what is not published."""
        actor = self._context.operator(request)
        at = requests.address(request)
        await self._context.write(self._desk.items.revoke, actor, at)
        return Response()

    def _found(self, request: Request) -> tuple[Actor, ConfigNamespace]:
        actor = self._context.guard.actor(request)
        return actor, self._desk.view.namespace(actor, requests.address(request))

    def _items(self, request: Request) -> tuple[list[Item], ConfigNamespace]:
        actor, namespace = self._found(request)
        return self._desk.view.items(actor, namespace.address), namespace

    def _public(self, request: Request, actor: Actor) -> list[ConfigNamespace]:
        name = bare(request.path_params["namespace"])
        found = rows.namespaces_named(self._desk.database.reader, name)
        if rows.public_namespace(self._desk.database.reader, name) is None:
            raise NotFound(f"There is no public namespace {name!r}.")
        return [one for one in found if actor.role(one.address.app_id) >= AccessRole.READ]


def _revision(fields: dict[str, object]) -> int | None:
    found = fields.get("revision")
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool):
        raise InvalidRequest(f"The field `revision` must be a number, not {found!r}.")
    return found
