"""What all pages of the portal have at hand."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from starlette.responses import Response

from skep.configserver.display.value_changes import changed_keys
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.editor_view import EditorView
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.items import values
from skep.configserver.model.names import Address, bare, fold
from skep.configserver.model.publish_policy import ReleaseFault
from skep.configserver.model.publish_requests import PublishRequest, RequestState
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.portal.paths import app_crumbs, namespace_crumbs, namespace_path
from skep.configserver.reading.watchers import Watchers
from skep.configserver.storage import branches
from skep.configserver.storage.database import NOWHERE
from skep.pages.accounts import Accounts
from skep.pages.site import Link, PageSite
from skep.pages.visit import Visit

_log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

# What the audit log has in the place of a token.
PORTAL = "portal"
_TABS = (
    ("Items", ()),
    ("Text", ("text",)),
    ("Changes", ("changes",)),
    ("History", ("history",)),
    ("Requests", ("requests",)),
    ("Gray release", ("gray",)),
    ("Instances", ("instances",)),
    ("Rules", ("rules",)),
)
# A branch has no branches, and its history stands with its parent's.
_TABS_OF_BRANCH = ("Items", "Text", "Changes", "Requests", "Instances")


@dataclass(frozen=True, slots=True)
class PortalContext:
    """The site, the editing desk and its writer, and the held polls."""

    site: PageSite
    editing: EditingContext
    watchers: Watchers

    @property
    def desk(self) -> EditingDesk:
        """Everything that a person can do."""
        return self.editing.desk

    @property
    def view(self) -> EditorView:
        """Everything that a person can see."""
        return self.editing.desk.view

    async def write(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run an act in the thread that writes."""
        return await self.editing.write(act, *args, **kwargs)

    async def record(self, visit: Visit, action: str, at: Address = NOWHERE, **detail: Any) -> None:
        """Write an entry of the audit log."""
        await self.write(self._record, actor_of(visit), action, at, detail)

    async def record_account(self, visit: Visit, action: str, name: str) -> None:
        """Write an entry about an account. A full disk must not keep people out: without the entry
        there is a line in the log."""
        try:
            await self.record(visit, action, account=name)
        except sqlite3.Error as error:
            _log.warning("%s of %r is not in the audit log: %s", action, name, error)

    def address(self, visit: Visit) -> Address:
        """Return the address in the path, as it was first spelled. Raises RoleMissing, NotFound."""
        path = visit.path
        at = Address(path("app"), path("cluster"), bare(path("namespace")))
        return self.view.namespace(actor_of(visit), at).address

    def published(self, actor: Actor, at: Address) -> dict[str, str]:
        """Return the values in force of a namespace; of a branch, what it lays over its parent."""
        branch = branches.of_address(self.desk.database.reader, at)
        if branch is not None:
            return {key: text for key, text in branch.overlay.items() if text is not None}
        release = self.view.latest_release(actor, at)
        return release.values() if release else {}

    def open_request(self, actor: Actor, at: Address) -> PublishRequest | None:
        """Return the publish of a namespace that waits; there is one at most."""
        found = self.desk.requests.of_namespace(actor, at, 1)
        return next((one for one in found if one.state == RequestState.OPEN), None)

    async def faults(self, actor: Actor, at: Address) -> Sequence[ReleaseFault]:
        """Return the rules that a publish of the items would break now. A schema may take a while,
        so the thread that writes looks."""
        return await self.write(self.desk.policies.faults, actor, at)

    def namespace_page(
        self,
        visit: Visit,
        at: Address,
        template: str,
        tab: str,
        *,
        title: str = "",
        status: int = 200,
        **context: Any,
    ) -> Response:
        """Return a page of a namespace, below its tabs; `tab` is the one it belongs to."""
        actor = actor_of(visit)
        branch = branches.of_address(self.desk.database.reader, at)
        edited = values(self.view.items(actor, at))
        pending = len(changed_keys(self.published(actor, at), edited))
        counts = {"Changes": pending, "Requests": int(self.open_request(actor, at) is not None)}
        crumbs: Sequence[Link] = namespace_crumbs(at) if title else app_crumbs(at.app_id)
        name = f"{at.namespace} in {at.cluster}" if branch is None else f"branch of {at.namespace}"
        return self.site.page(
            visit,
            template,
            title or name,
            crumbs,
            status=status,
            at=at,
            path=namespace_path(at),
            parent=namespace_path(branch.parent, "gray") if branch else "",
            tabs=[
                (text, namespace_path(at, *more), text == tab, counts.get(text, 0))
                for text, more in _TABS
                if branch is None or text in _TABS_OF_BRANCH
            ],
            pending=pending,
            may_edit=actor.role(at.app_id) >= AccessRole.EDIT,
            may_publish=actor.role(at.app_id) >= AccessRole.PUBLISH,
            **context,
        )

    def _record(self, actor: Actor, action: str, at: Address, detail: dict[str, Any]) -> None:
        with self.desk.database.changing(actor) as change:
            change.record(action, at, **detail)


def actor_of(visit: Visit) -> Actor:
    """Return who acts: the account with its roles; without an account, an actor without any."""
    roles = visit.account.roles if visit.account else {}
    grants = {fold(app): AccessRole[word.upper()] for app, word in roles.items()}
    return Actor(visit.name, PORTAL, visit.origin, grants, person=_identity(visit.name))


def ended_people(accounts: Accounts) -> set[str]:
    """Return who is not let in any more, as `Actor.identity` names them."""
    return {_identity(one.name) for one in accounts.all() if one.disabled_at}


def _identity(name: str) -> str:
    return f"{PORTAL} {name}"
