"""Who acts, and what they may do to which app."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from skep.configserver.model.names import fold
from skep.configserver.model.refusals import InvalidRequest, RoleMissing

EVERY_APP = "*"


class AccessRole(IntEnum):
    """What a token may do to an app; a higher role includes the lower ones.

    READ sees what is not published, EDIT saves items, PUBLISH makes clients see something else, and
    ADMIN manages access keys and tokens.
    """

    READ = 1
    EDIT = 2
    PUBLISH = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Actor:
    """The person or script that acts: the name it gives, its token's, and its network address.

    `grants` are roles by app id in lower case; `*` stands for every app. `person` is who signed in,
    where people do not act by tokens of their own.
    """

    name: str
    token: str = ""
    origin: str = ""
    grants: Mapping[str, AccessRole] = field(default_factory=dict)
    person: str = ""

    @property
    def identity(self) -> str:
        """Who this is for sure. The name is not: with a token the request chooses it."""
        return self.person or self.token or self.name

    def role(self, app_id: str) -> int:
        """Return the role for an app; 0 without any."""
        return max(self.grants.get(fold(app_id), 0), self.grants.get(EVERY_APP, 0))

    def require(self, role: AccessRole, app_id: str) -> None:
        """Raise RoleMissing unless this actor has the role for the app, or `*` for every app."""
        if self.role(app_id) < role:
            whose = "every app" if app_id == EVERY_APP else f"the app {app_id!r}"
            raise RoleMissing(
                f"The token {self.token!r} lacks the role {role.name.lower()} for {whose}."
            )


def system_actor(name: str) -> Actor:
    """Return an actor that may do everything: the platform itself."""
    return Actor(name, grants={EVERY_APP: AccessRole.ADMIN})


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token as it is listed: only its hash is kept. Times are milliseconds since the epoch, 0 for
    never."""

    id: int
    name: str
    grants: Mapping[str, AccessRole]
    created_by: str
    created_at: int
    expires_at: int
    revoked_at: int


def parse_role(text: str) -> AccessRole:
    """Return the role of this name. Raises InvalidRequest for another than read, edit, publish."""
    roles = {role.name.lower(): role for role in AccessRole if role is not AccessRole.ADMIN}
    if text not in roles:
        raise InvalidRequest(f"There is no role {text!r}; the roles are {', '.join(roles)}.")
    return roles[text]
