"""Making and ending access keys and tokens."""

import secrets
from collections.abc import Mapping

from skep.configserver.model.access_keys import MOST_KEYS, AppKey, KeyMode
from skep.configserver.model.limits import check_name
from skep.configserver.model.names import Address, fold
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.rights import EVERY_APP, AccessRole, Actor
from skep.configserver.storage import access
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction

_LONGEST = 64


class AccessEditor:
    """The access keys of apps, which need not exist, and the tokens. Every method raises
    RoleMissing unless the actor is an administrator."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def create_key(
        self,
        actor: Actor,
        app_id: str,
        secret: str = "",
        mode: KeyMode = KeyMode.FILTER,
        *,
        enabled: bool = False,
    ) -> AppKey:
        """Make an access key, of 128 random bits if no secret is given. Raises InvalidRequest if
        the app has as many as are allowed."""
        actor.require(AccessRole.ADMIN, app_id)
        check_name("app id", app_id)
        if len(secret) > _LONGEST or not (secret.isascii() and secret.isprintable()):
            raise InvalidRequest(f"A secret is up to {_LONGEST} printable ASCII characters.")
        with self._database.changing(actor) as change:
            if len(access.keys(change.db, app_id)) >= MOST_KEYS:
                raise InvalidRequest(
                    f"The app {app_id!r} has {MOST_KEYS} access keys: delete one first."
                )
            key = access.insert_key(change, app_id, secret or secrets.token_hex(16), mode, enabled)
            _record(change, "key.create", key)
            return key

    def enable_key(self, actor: Actor, app_id: str, key_id: int, mode: KeyMode) -> None:
        """Enable a key in this mode, at once. Raises NotFound."""
        self._set_key(actor, app_id, key_id, mode, enabled=True)

    def disable_key(self, actor: Actor, app_id: str, key_id: int) -> None:
        """Disable a key, at once. Raises NotFound."""
        self._set_key(actor, app_id, key_id, None, enabled=False)

    def delete_key(self, actor: Actor, app_id: str, key_id: int) -> None:
        """Delete a key. Raises NotFound, and InvalidRequest while it is enabled."""
        actor.require(AccessRole.ADMIN, app_id)
        with self._database.changing(actor) as change:
            key = _key(change, app_id, key_id)
            if key.enabled:
                raise InvalidRequest(f"The access key {key_id} is enabled: disable it first.")
            access.delete_key(change, key_id)
            _record(change, "key.delete", key)

    def create_token(
        self, actor: Actor, name: str, grants: Mapping[str, AccessRole], expires_at: int = 0
    ) -> str:
        """Make a token and return its text, which is not kept. `grants` are roles by app id, `*`
        for every app; `expires_at` is in milliseconds since the epoch, 0 for never. Raises
        InvalidRequest for a bad or used name, or without any grant."""
        actor.require(AccessRole.ADMIN, EVERY_APP)
        if not name.strip() or len(name) > _LONGEST or not name.isprintable():
            raise InvalidRequest(f"A token needs a name of up to {_LONGEST} characters.")
        if not grants:
            raise InvalidRequest("A token needs a role for an app, or for `*`.")
        for app_id in grants:
            if app_id != EVERY_APP:
                check_name("app id", app_id)
        text = secrets.token_urlsafe(32)
        with self._database.changing(actor) as change:
            if access.token_named(change.db, name) is not None:
                raise InvalidRequest(f"There is a token {name!r} already, or was one.")
            access.insert_token(change, name, text, grants, expires_at)
            shown = {fold(app_id): role.name.lower() for app_id, role in grants.items()}
            change.record("token.create", name=name, roles=shown)
        return text

    def revoke_token(self, actor: Actor, name: str) -> None:
        """Revoke a token, at once. Raises NotFound."""
        actor.require(AccessRole.ADMIN, EVERY_APP)
        with self._database.changing(actor) as change:
            token = access.token_named(change.db, name)
            if token is None:
                raise NotFound(f"There is no token {name!r}.")
            if not token.revoked_at:
                access.revoke_token(change, token.id)
                change.record("token.revoke", name=token.name)

    def _set_key(
        self, actor: Actor, app_id: str, key_id: int, mode: KeyMode | None, *, enabled: bool
    ) -> None:
        actor.require(AccessRole.ADMIN, app_id)
        with self._database.changing(actor) as change:
            key = _key(change, app_id, key_id)
            access.set_key(change, key_id, key.mode if mode is None else mode, enabled)
            _record(change, "key.enable" if enabled else "key.disable", key)


def _key(change: WriteTransaction, app_id: str, key_id: int) -> AppKey:
    found = [key for key in access.keys(change.db, app_id) if key.id == key_id]
    if not found:
        raise NotFound(f"The app {app_id!r} has no access key {key_id}.")
    return found[0]


def _record(change: WriteTransaction, action: str, key: AppKey) -> None:
    change.record(action, Address(key.app_id, "", ""), key=key.id, mode=key.mode.name.lower())
