"""Apps, clusters and namespaces in the Open API."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.apps import AppDetails
from skep.configserver.model.names import FILE_FORMATS, file_format
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.storage import instances

# Any environment is accepted, because this server has only one; this is its name.
_ENVIRONMENT = "DEV"


class AppsApi:
    """Making and showing apps, clusters and namespaces."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, root: str, env: str, namespace: str) -> list[Route]:
        """Return the routes below the paths of the API, an environment and a namespace."""
        clusters = f"{env}/apps/{{app_id}}/clusters"
        return [
            Route(f"{root}/organizations", self.organizations),
            # As the official SDK asks for them.
            Route(f"{root}//organizations", self.organizations),
            Route(f"{root}/apps", self.apps),
            Route(f"{root}/apps", self.create_app, methods=["POST"]),
            Route(f"{root}/apps/authorized", self.apps),
            Route(f"{root}/apps/{{app_id}}/envclusters", self.environments),
            Route(f"{root}/apps/{{app_id}}/appnamespaces", self.define, methods=["POST"]),
            Route(clusters, self.create_cluster, methods=["POST"]),
            Route(f"{clusters}/{{cluster}}", self.cluster),
            Route(f"{clusters}/{{cluster}}/namespaces", self.namespaces),
            Route(namespace, self.namespace),
            Route(f"{namespace}/lock", self.lock),
            Route(f"{namespace}/instances", self.instances),
        ]

    async def apps(self, request: Request) -> Response:
        """Answer the apps that the token may read; of them those in `appIds` if it is given."""
        actor = self._context.guard.actor(request)
        wanted = {
            one.casefold() for one in request.query_params.get("appIds", "").split(",") if one
        }
        found = self._desk.view.apps(actor)
        chosen = [app for app in found if not wanted or app.app_id.casefold() in wanted]
        return JSONResponse([documents.app(app) for app in chosen])

    async def organizations(self, request: Request) -> Response:
        """Answer the organizations of the apps that the token may read."""
        actor = self._context.guard.actor(request)
        found = {app.details.org_id: app.details.org_name for app in self._desk.view.apps(actor)}
        return JSONResponse(
            [{"orgId": org_id, "orgName": name} for org_id, name in found.items() if org_id]
        )

    async def create_app(self, request: Request) -> Response:
        """Make an app."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        fields = body.get("app")
        if not isinstance(fields, dict):
            raise InvalidRequest("The field `app` must be an object.")
        details = AppDetails(
            title=requests.text(fields, "name", 500),
            org_id=requests.text(fields, "orgId", 32, needed=False),
            org_name=requests.text(fields, "orgName", 64, needed=False),
            owner_name=requests.text(fields, "ownerName", 500),
            owner_email=requests.text(fields, "ownerEmail", 500, needed=False),
        )
        actor = replace(actor, name=details.owner_name[: requests.OPERATOR])
        app_id = requests.text(fields, "appId")
        await self._context.write(self._desk.catalogue.create_app, actor, app_id, details)
        return Response()

    async def environments(self, request: Request) -> Response:
        """Answer the one environment with the clusters of the app."""
        actor = self._context.guard.actor(request)
        app = self._desk.view.app(actor, request.path_params["app_id"])
        clusters = self._desk.view.clusters(actor, app.app_id)
        names = [cluster.name for cluster in clusters]
        return JSONResponse([{"env": _ENVIRONMENT, "clusters": names}])

    async def define(self, request: Request) -> Response:
        """Define a namespace for all clusters of an app; answer it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        name = requests.text(body, "dataChangeCreatedBy", requests.OPERATOR)
        actor = replace(actor, name=name)
        app = self._desk.view.app(actor, request.path_params["app_id"])
        public = body.get("isPublic") is True
        namespace = requests.text(body, "name")
        if public and body.get("appendNamespacePrefix") is not False and app.details.org_id:
            namespace = f"{app.details.org_id}.{namespace}"
        made = await self._context.write(
            self._desk.catalogue.create_app_namespace,
            actor,
            app.app_id,
            _with_suffix(namespace, requests.text(body, "format", needed=False)),
            requests.text(body, "comment", 64, needed=False),
            public=public,
        )
        return JSONResponse(documents.app_namespace(made))

    async def create_cluster(self, request: Request) -> Response:
        """Make a cluster; answer it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        operator = requests.text(body, "dataChangeCreatedBy", requests.OPERATOR)
        name, app_id = requests.text(body, "name"), request.path_params["app_id"]
        if requests.text(body, "appId", needed=False) not in ("", app_id):
            raise InvalidRequest(f"The app id of the body is not {app_id!r}.")
        actor = replace(actor, name=operator)
        made = await self._context.write(self._desk.catalogue.create_cluster, actor, app_id, name)
        return JSONResponse(documents.cluster(made))

    async def cluster(self, request: Request) -> Response:
        """Answer one cluster."""
        actor, path = self._context.guard.actor(request), request.path_params
        cluster = self._desk.view.cluster(actor, path["app_id"], path["cluster"])
        return JSONResponse(documents.cluster(cluster))

    async def namespaces(self, request: Request) -> Response:
        """Answer the namespaces of a cluster, with their items unless `fillItemDetail=false`."""
        actor, path = self._context.guard.actor(request), request.path_params
        view = self._desk.view
        view.cluster(actor, path["app_id"], path["cluster"])
        found = view.namespaces(actor, path["app_id"], path["cluster"])
        filled = _filled(request)
        return JSONResponse(
            [
                documents.namespace(one, view.items(actor, one.address) if filled else None)
                for one in found
            ]
        )

    async def namespace(self, request: Request) -> Response:
        """Answer a namespace, with its items unless `fillItemDetail=false`."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        namespace = self._desk.view.namespace(actor, at)
        items = self._desk.view.items(actor, at) if _filled(request) else None
        return JSONResponse(documents.namespace(namespace, items))

    async def lock(self, request: Request) -> Response:
        """Answer that no one holds a lock: edits that meet are conflicts, and need none."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        found = self._desk.view.namespace(actor, at).address
        return JSONResponse({"namespaceName": found.namespace, "isLocked": False})

    async def instances(self, request: Request) -> Response:
        """Answer how many instances run a release of the namespace."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        found = self._desk.view.namespace(actor, at).address
        await self._context.write(self._context.book.flush)
        running = instances.of_namespace(self._desk.database.reader, found)
        return JSONResponse(len({one.instance_id for one in running}))


def _filled(request: Request) -> bool:
    return request.query_params.get("fillItemDetail", "true").lower() != "false"


def _with_suffix(name: str, wanted: str) -> str:
    """Return the name of a namespace with the suffix of its format; properties have none."""
    if wanted in ("", "properties") or file_format(name) == wanted:
        return name
    if wanted not in FILE_FORMATS:
        formats = ", ".join(("properties", *FILE_FORMATS))
        raise InvalidRequest(f"There is no format {wanted!r}; the formats are {formats}.")
    return f"{name}.{wanted}"
