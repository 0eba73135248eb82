"""What the store keeps and refuses. Times are milliseconds since the epoch."""

import json
from dataclasses import dataclass
from typing import cast

from skep.base.errors import ConfigError
from skep.configserver.names import Address, bare, is_legal

# The widths of Apollo's own columns, so that what is written here can move there.
_WIDTHS = {"app id": 64, "cluster": 32, "namespace": 32}


class InvalidRequest(ConfigError):
    """What was asked is wrong in itself: a bad name, too long a value, a missing field (400)."""


class NotFound(ConfigError):
    """What was asked for does not exist (404)."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to write. Without a key it is a comment or a blank line.

    `type` is a hint for editors (0 string, 1 number, 2 boolean, 3 JSON); values are always text.
    """

    key: str
    value: str
    comment: str = ""
    type: int = 0


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a namespace as it will be published next; `line` gives the order."""

    key: str
    value: str
    comment: str
    type: int
    line: int
    created_by: str
    created_at: int
    modified_by: str
    modified_at: int


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """An immutable published release. `configurations` is a JSON object of texts."""

    id: int
    release_key: str
    address: Address
    name: str
    comment: str
    configurations: str
    released_by: str
    released_at: int

    def values(self) -> dict[str, str]:
        """Return the configurations in the order of the items they were made from."""
        return cast("dict[str, str]", json.loads(self.configurations))


@dataclass(frozen=True, slots=True)
class Notification:
    """The latest change of one address; ids rise over all addresses and never repeat."""

    id: int
    address: Address


@dataclass(frozen=True, slots=True)
class EditorLimits:
    """The longest key and value in characters; the defaults are Apollo's."""

    key: int = 128
    value: int = 20_000

    @property
    def body(self) -> int:
        """The largest request body in bytes: JSON may spell one character with twelve."""
        return 4 * 1024 * 1024 + 12 * self.value

    def check(self, draft: Draft) -> None:
        """Raise InvalidRequest if the item is too long."""
        for what, text, most in (
            (f"key {draft.key[:32]!r}…", draft.key, self.key),
            (f"value of {draft.key!r}", draft.value, self.value),
        ):
            if len(text) > most:
                raise InvalidRequest(f"The {what} has {len(text)} characters; {most} are allowed.")


def check_address(address: Address) -> None:
    """Raise InvalidRequest, naming the culprit, if this address may not be written to."""
    if bare(address.namespace) != address.namespace:
        raise InvalidRequest(
            f"No namespace can be called {address.namespace!r}: clients leave `.properties` away."
        )
    for (what, width), name in zip(_WIDTHS.items(), address, strict=True):
        if not is_legal(name):
            raise InvalidRequest(
                f"The {what} {name!r} is not a name: use letters, digits, `_`, `-` and `.`, "
                "and do not begin with a `.`."
            )
        if len(name) > width:
            raise InvalidRequest(
                f"The {what} {name!r} has {len(name)} characters; Apollo takes {width} at most."
            )
