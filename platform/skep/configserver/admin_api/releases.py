"""Releases, history, commits, branches and instances in the admin API."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.instances import InstanceConfig
from skep.configserver.model.names import Address, bare
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.rights import Actor
from skep.configserver.storage import instances, releases

_MOST_IDS = 500


class AdminReleasesApi:
    """What became of a namespace, and which instance runs what. The latest release is what clients
    read, and needs no token where they may read unsigned."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self, namespace: str) -> list[Route]:
        """Return the routes; `namespace` is the path of one."""
        rollback = "/releases/{release_id:row}/rollback"
        return [
            Route(f"{namespace}/releases/latest", self.latest),
            Route(f"{namespace}/releases/active", self.active),
            Route(f"{namespace}/releases/all", self.all),
            Route(f"{namespace}/releases/histories", self.histories),
            Route(f"{namespace}/commit", self.commits),
            Route(f"{namespace}/lock", self.lock),
            Route(f"{namespace}/branches", self.branch),
            Route(f"{namespace}/branches/{{branch}}/rules", self.rules),
            Route("/releases", self.several),
            Route("/releases/{release_id:row}", self.release),
            Route(rollback, self.roll_back, methods=["PUT"]),
            Route("/instances/by-release", self.by_release),
            Route("/instances/by-namespace", self.by_namespace),
            Route("/instances/by-namespace/count", self.count),
            Route("/instances/by-namespace-and-releases-not-in", self.of_other_releases),
        ]

    async def latest(self, request: Request) -> Response:
        """Answer the release in force, or 200 and nothing if there is none, as Apollo does."""
        at = requests.address(request)
        actor, _ = self._context.guard.reader(request, at.app_id)
        release = self._desk.view.latest_release(actor, at)
        return JSONResponse(documents.admin_release(release)) if release else Response()

    async def active(self, request: Request) -> Response:
        """Answer releases that were not rolled back."""
        return self._releases(request, active=True)

    async def all(self, request: Request) -> Response:
        """Answer releases, also those that were rolled back."""
        return self._releases(request, active=False)

    async def histories(self, request: Request) -> Response:
        """Answer what became of the releases."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        page, size = requests.page(request, 10)
        found = self._desk.view.history(actor, at, page * size, size)
        content = [documents.history(one) for one in found]
        total = releases.count_history(self._desk.database.reader, at)
        return JSONResponse(documents.paged(content, page, size, total))

    async def commits(self, request: Request) -> Response:
        """Answer the saves of items, of one `key` if it is given."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        page, size = requests.page(request, 10)
        key = request.query_params.get("key", "")
        found = self._desk.view.commits(actor, at, page * size, size, key)
        return JSONResponse([documents.commit(one) for one in found])

    async def lock(self, request: Request) -> Response:
        """Answer 200 and nothing: no one holds a lock."""
        actor = self._context.guard.actor(request)
        self._desk.view.namespace(actor, requests.address(request))
        return Response()

    async def branch(self, request: Request) -> Response:
        """Answer the branch of a namespace, or 404, as Apollo does."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        branch = self._desk.view.branch(actor, at)
        if branch is None:
            raise NotFound(f"There is no branch of {at}.")
        found = self._desk.view.namespace(actor, branch.address)
        return JSONResponse(documents.admin_namespace(found))

    async def rules(self, request: Request) -> Response:
        """Answer the rules of a branch."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        branch = self._desk.view.branch(actor, at)
        if branch is None or branch.address.cluster != request.path_params["branch"]:
            raise NotFound(f"There is no branch {request.path_params['branch']!r} of {at}.")
        return JSONResponse(documents.rules(branch))

    async def several(self, request: Request) -> Response:
        """Answer the releases whose ids are given; unknown ones are left out."""
        actor = self._context.guard.actor(request)
        found = []
        for number in _ids(request):
            try:
                found.append(self._desk.view.release(actor, number))
            except NotFound:
                continue
        return JSONResponse([documents.admin_release(one) for one in found])

    async def release(self, request: Request) -> Response:
        """Answer one release."""
        actor = self._context.guard.actor(request)
        found = self._desk.view.release(actor, requests.path_id(request, "release_id"))
        return JSONResponse(documents.admin_release(found))

    async def roll_back(self, request: Request) -> Response:
        """Roll back as the Open API does."""
        actor = self._context.operator(request)
        await self._context.write(
            self._desk.publisher.roll_back,
            actor,
            requests.path_id(request, "release_id"),
            requests.number(request, "toReleaseId", 0),
            restore=requests.flag(request, "restoreItems"),
        )
        return Response()

    async def by_release(self, request: Request) -> Response:
        """Answer the instances that run a release."""
        actor = self._context.guard.actor(request)
        release = self._desk.view.release(actor, requests.number(request, "releaseId"))
        await self._context.write(self._context.book.flush)
        found = instances.of_release(self._desk.database.reader, release.release_key)
        return self._instances(request, found)

    async def by_namespace(self, request: Request) -> Response:
        """Answer the instances that run any release of a namespace."""
        return self._instances(request, await self._running(request))

    async def count(self, request: Request) -> Response:
        """Answer how many instances run a release of a namespace."""
        return JSONResponse(len({one.instance_id for one in await self._running(request)}))

    async def of_other_releases(self, request: Request) -> Response:
        """Answer the instances of a namespace that run another release than the given ones."""
        actor, at = self._queried(request)
        keys = [self._desk.view.release(actor, number).release_key for number in _ids(request)]
        await self._context.write(self._context.book.flush)
        found = instances.of_other_releases(self._desk.database.reader, at, keys)
        return JSONResponse(self._documents(found))

    def _releases(self, request: Request, *, active: bool) -> Response:
        actor, at = self._context.guard.actor(request), requests.address(request)
        page, size = requests.page(request, 5)
        found = self._desk.view.releases(actor, at, page * size, size, active=active)
        return JSONResponse([documents.admin_release(one) for one in found])

    async def _running(self, request: Request) -> list[InstanceConfig]:
        _, at = self._queried(request)
        await self._context.write(self._context.book.flush)
        found = instances.of_namespace(self._desk.database.reader, at)
        app_id = request.query_params.get("instanceAppId")
        return [one for one in found if not app_id or one.app_id == app_id]

    def _queried(self, request: Request) -> tuple[Actor, Address]:
        actor, query = self._context.guard.actor(request), dict(request.query_params)
        names = (requests.text(query, name) for name in ("appId", "clusterName", "namespaceName"))
        app_id, cluster, namespace = names
        at = Address(app_id, cluster, bare(namespace))
        return actor, self._desk.view.namespace(actor, at).address

    def _instances(self, request: Request, found: list[InstanceConfig]) -> Response:
        page, size = requests.page(request, 20)
        shown = self._documents(found)
        content = shown[page * size : (page + 1) * size]
        return JSONResponse(documents.paged(content, page, size, len(shown)))

    def _documents(self, found: Iterable[InstanceConfig]) -> list[dict[str, object]]:
        found = list(found)
        reader = self._desk.database.reader
        known = {key: releases.by_key(reader, key) for key in {one.release_key for one in found}}
        shown = {key: documents.admin_release(one) for key, one in known.items() if one}
        return documents.instances(found, shown)


def _ids(request: Request) -> list[int]:
    words = [word for word in request.query_params.get("releaseIds", "").split(",") if word]
    if len(words) > _MOST_IDS or not all(
        w.isascii() and w.isdigit() and len(w) < 19 for w in words
    ):
        raise InvalidRequest(
            f"The parameter `releaseIds` must be up to {_MOST_IDS} numbers with commas."
        )
    return [int(word) for word in words]
