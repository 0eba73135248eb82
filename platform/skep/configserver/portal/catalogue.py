"""Apps, and the clusters and namespaces of one app."""

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import changed_keys
from skep.configserver.model.apps import AppDetails
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.rights import EVERY_APP, AccessRole, Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.paths import HOME, app_path, namespace_path
from skep.pages.site import Link
from skep.pages.visit import Visit

_FORMATS = ("properties", "yaml", "yml", "json", "xml", "txt")


class CataloguePages:
    """The way to a namespace."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context
        self._site = context.site

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._site
        return [
            site.get("/", self.apps),
            site.post("/apps", self.create_app),
            site.get("/apps/{app}", self.app),
            site.post("/apps/{app}/clusters", self.create_cluster),
            site.post("/apps/{app}/namespaces", self.create_namespace),
            site.post("/apps/{app}/add", self.add_namespace),
            site.post("/apps/{app}/{cluster}/{namespace}/delete", self.delete_namespace),
        ]

    async def apps(self, visit: Visit) -> Response:
        """Show the apps that the account may read."""
        actor = actor_of(visit)
        apps = [
            {
                "id": app.app_id,
                "title": app.details.title,
                "owner": app.details.owner_name,
                "url": app_path(app.app_id),
                "pending": sum(self._pending(actor, app.app_id).values()),
            }
            for app in self._context.view.apps(actor)
        ]
        may_create = actor.role(EVERY_APP) >= AccessRole.EDIT
        return self._site.page(visit, "apps.html", "Apps", apps=apps, may_create=may_create)

    async def create_app(self, visit: Visit) -> Response:
        """Make an app."""
        form = visit.form
        app_id = form.line("app")
        details = AppDetails(form.line("title", most=500), owner_name=visit.name)
        await self._context.write(
            self._context.desk.catalogue.create_app, actor_of(visit), app_id, details
        )
        visit.session.say(f"The app {app_id} is made.")
        return self._site.go(app_path(app_id))

    async def app(self, visit: Visit) -> Response:
        """Show the clusters of an app with their namespaces."""
        actor = actor_of(visit)
        app = self._context.view.app(actor, visit.path("app"))
        pending = self._pending(actor, app.app_id)
        clusters = [
            {
                "name": cluster.name,
                "namespaces": [
                    {
                        "name": one.address.namespace,
                        "url": namespace_path(one.address),
                        "is_public": one.is_public,
                        "pending": pending[one.address],
                    }
                    for one in self._context.view.namespaces(actor, app.app_id, cluster.name)
                ],
            }
            for cluster in self._context.view.clusters(actor, app.app_id)
        ]
        role = actor.role(app.app_id)
        return self._site.page(
            visit,
            "app.html",
            app.app_id,
            [Link("Apps", HOME)],
            app=app,
            path=app_path(app.app_id),
            clusters=clusters,
            formats=_FORMATS,
            may_edit=role >= AccessRole.EDIT,
            is_admin=role >= AccessRole.ADMIN,
        )

    async def create_cluster(self, visit: Visit) -> Response:
        """Make a cluster."""
        app_id, name = visit.path("app"), visit.form.line("name")
        await self._context.write(
            self._context.desk.catalogue.create_cluster, actor_of(visit), app_id, name
        )
        visit.session.say(f"The cluster {name} is made, with all namespaces of the app.")
        return self._site.go(app_path(app_id))

    async def create_namespace(self, visit: Visit) -> Response:
        """Define a namespace in all clusters of an app."""
        form, app_id = visit.form, visit.path("app")
        kind = form.text("format", "properties")
        name = form.line("name") + ("" if kind not in _FORMATS[1:] else f".{kind}")
        await self._context.write(
            self._context.desk.catalogue.create_app_namespace,
            actor_of(visit),
            app_id,
            name,
            form.line("comment", most=256),
            public=form.flag("public"),
        )
        visit.session.say(f"The namespace {name} is made in every cluster.")
        return self._site.go(app_path(app_id))

    async def add_namespace(self, visit: Visit) -> Response:
        """Make a namespace in one cluster; with the name of another app's public one it overrides
        that one's values."""
        form = visit.form
        at = Address(visit.path("app"), form.line("cluster"), form.line("name"))
        made = await self._context.write(
            self._context.desk.catalogue.create_namespace, actor_of(visit), at
        )
        visit.session.say(f"The namespace {made.namespace} is made in the cluster {made.cluster}.")
        return self._site.go(namespace_path(made))

    async def delete_namespace(self, visit: Visit) -> Response:
        """Delete a namespace of one cluster, if its name was written once more."""
        at = self._context.address(visit)
        if visit.form.line("confirm") != at.namespace:
            visit.session.say(f"Nothing was deleted: write {at.namespace} to confirm.")
            return self._site.go(namespace_path(at))
        await self._context.write(
            self._context.desk.catalogue.delete_namespace, actor_of(visit), at
        )
        visit.session.say(f"The namespace {at.namespace} of the cluster {at.cluster} is deleted.")
        return self._site.go(app_path(at.app_id))

    def _pending(self, actor: Actor, app_id: str) -> dict[Address, int]:
        """Return how many keys of each namespace are not published as they were saved."""
        view = self._context.view
        return {
            one.address: len(
                changed_keys(
                    self._context.published(actor, one.address),
                    values(view.items(actor, one.address)),
                )
            )
            for cluster in view.clusters(actor, app_id)
            for one in view.namespaces(actor, app_id, cluster.name)
        }
