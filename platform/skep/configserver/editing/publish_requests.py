"""Asking for a publish, approving it, and publishing what is due."""

from collections.abc import Collection

from skep.base.errors import ConfigError
from skep.configserver.editing.item_release import release_items
from skep.configserver.editing.policies import check_release, policy_at
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.publish_requests import (
    PublishRequest,
    RequestState,
    RequestStep,
    check_due,
    digest_of,
    next_step,
)
from skep.configserver.model.refusals import ApprovalMissing, InvalidRequest
from skep.configserver.model.rights import EVERY_APP, AccessRole, Actor
from skep.configserver.storage import branches, items, namespaces
from skep.configserver.storage import publish_requests as rows
from skep.configserver.storage.access import token_named
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction

_SCHEDULE = "schedule"


class PublishRequests:
    """The publishes that wait: at most one for each namespace."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def ask(
        self, actor: Actor, address: Address, title: ReleaseTitle, due_at: int = 0
    ) -> PublishRequest:
        """Ask to publish the items as they are now, at a time in milliseconds since the epoch or at
        once.

        Raises NotFound without the namespace; ReleaseRefused if they break a rule; InvalidRequest
        if nothing has to be waited for, for another time, or while a request is open; RoleMissing
        unless the actor may edit, and without a second person publish, the app.
        """
        actor.require(AccessRole.EDIT, address.app_id)
        with self._database.changing(actor) as change:
            db = change.db
            namespace_id, at = namespaces.require(db, address)
            policy = policy_at(db, at)
            if not policy.approval:
                actor.require(AccessRole.PUBLISH, at.app_id)
                if not due_at:
                    raise InvalidRequest(
                        f"{at} needs no second person: publish it, or give a time."
                    )
            check_due(due_at, change.now)
            present = rows.open_request(db, namespace_id)
            if present is not None:
                raise InvalidRequest(
                    f"Request {present.id} to publish {at} is open: withdraw it first."
                )
            found = values(items.items(db, namespace_id))
            if branches.of_address(db, at) is None:
                check_release(change, namespace_id, at, found)
            texts = (title.name, title.comment)
            made = rows.insert_request(change, namespace_id, digest_of(found), texts, due_at)
            change.record("publish.ask", at, request=made.id, due_at=due_at)
            return made

    def approve(self, actor: Actor, request_id: int) -> PublishRequest:
        """Approve a request, and publish it if it has no time to wait for.

        Raises NotFound; ApprovalMissing for the person who asked; InvalidRequest if it is not open,
        or if the items have changed, which refuses it for good; ReleaseRefused if they break a rule
        by now; RoleMissing unless the actor may publish the app.
        """
        request = rows.request_by_id(self._database.reader, request_id)
        actor.require(AccessRole.PUBLISH, request.address.app_id)
        with self._database.changing(actor) as change:
            request = _open(change, request_id)
            if actor.identity == request.requester:
                raise ApprovalMissing(
                    f"Request {request_id} needs another person than {request.requested_by!r}, who "
                    "asked for it."
                )
            rows.set_approved(change, request_id)
            change.record("publish.approve", request.address, request=request_id)
            settled = _settle(change, rows.request_by_id(change.db, request_id), change.now)
        if settled.state == RequestState.REFUSED:
            raise InvalidRequest(f"Request {request_id} is refused: {settled.reason}")
        return settled

    def withdraw(self, actor: Actor, request_id: int) -> None:
        """End an open request. Raises NotFound, InvalidRequest if it is not open, and RoleMissing
        unless the actor asked for it or may publish the app."""
        request = rows.request_by_id(self._database.reader, request_id)
        mine = actor.identity == request.requester
        role = AccessRole.EDIT if mine else AccessRole.PUBLISH
        actor.require(role, request.address.app_id)
        with self._database.changing(actor) as change:
            _open(change, request_id)
            rows.settle_request(change, request_id, RequestState.WITHDRAWN)
            change.record("publish.withdraw", request.address, request=request_id)

    def of_namespace(self, actor: Actor, address: Address, count: int = 50) -> list[PublishRequest]:
        """Return the requests of a namespace, the newest first. Raises RoleMissing unless the actor
        may read the app."""
        actor.require(AccessRole.READ, address.app_id)
        return rows.requests_of(self._database.reader, address, count)

    def open(self, actor: Actor) -> list[PublishRequest]:
        """Return the open requests of all apps that the actor may read, the oldest first."""
        found = rows.open_requests(self._database.reader)
        return [one for one in found if actor.role(one.address.app_id) >= AccessRole.READ]

    def is_due(self, now: int) -> bool:
        """Return whether a request is to be settled; `now` is in milliseconds since the epoch."""
        return bool(rows.due_requests(self._database.reader, now))

    def publish_due(self, now: int, ended: Collection[str] = ()) -> list[PublishRequest]:
        """Publish or refuse each request whose time has come; return them as they are then. What a
        person wanted whose identity is among `ended` is refused, as with an ended token."""
        due = rows.due_requests(self._database.reader, now)
        return [self._on_time(one, now, ended) for one in due]

    def _on_time(self, request_id: int, now: int, ended: Collection[str]) -> PublishRequest:
        request = rows.request_by_id(self._database.reader, request_id)
        grants = {EVERY_APP: AccessRole.PUBLISH}
        actor = Actor(request.requested_by, request.requester, _SCHEDULE, grants)
        try:
            with self._database.changing(actor) as change:
                request = _open(change, request_id)
                reason = _revoked(change, request, ended)
                if reason:
                    return _refuse(change, request, reason)
                return _settle(change, request, now)
        except ConfigError as error:
            with self._database.changing(actor) as change:
                return _refuse(change, request, str(error))


def _settle(change: WriteTransaction, request: PublishRequest, now: int) -> PublishRequest:
    """Do the next step of an open request; return it as it is then."""
    namespace_id, at = namespaces.require(change.db, request.address)
    digest = digest_of(values(items.items(change.db, namespace_id)))
    approval = policy_at(change.db, at).approval
    step, reason = next_step(request, digest, approval=approval, now=now)
    if step is RequestStep.REFUSE:
        return _refuse(change, request, reason)
    if step is RequestStep.WAIT:
        return request
    release = release_items(change, at, ReleaseTitle(request.title, request.comment))
    rows.settle_request(change, request.id, RequestState.PUBLISHED, release_id=release.id)
    return rows.request_by_id(change.db, request.id)


def _refuse(change: WriteTransaction, request: PublishRequest, reason: str) -> PublishRequest:
    rows.settle_request(change, request.id, RequestState.REFUSED, reason=reason)
    change.record("publish.refuse", request.address, request=request.id, reason=reason)
    return rows.request_by_id(change.db, request.id)


def _open(change: WriteTransaction, request_id: int) -> PublishRequest:
    request = rows.request_by_id(change.db, request_id)
    if request.state != RequestState.OPEN:
        raise InvalidRequest(f"Request {request_id} is {request.state.name.lower()} already.")
    return request


def _revoked(change: WriteTransaction, request: PublishRequest, ended: Collection[str]) -> str:
    """Return why a request counts no more, if the token or the account of a person who wanted it
    has ended."""
    people = {request.requester: request.requested_by, request.approver: request.approved_by}
    for name, person in people.items():
        if name in ended:
            return f"The account of {person!r}, who wanted it, is disabled."
        token = token_named(change.db, name)
        if token and (token.revoked_at or 0 < token.expires_at <= change.now):
            return f"The token {token.name!r}, by which it was wanted, has ended."
    return ""
