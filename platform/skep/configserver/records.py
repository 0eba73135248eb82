"""What the store keeps, as its readers see it. Times are milliseconds since the epoch."""

import json
from dataclasses import dataclass
from typing import cast

from skep.configserver.names import Address
from skep.configserver.refusals import Refused


@dataclass(frozen=True, slots=True)
class Draft:
    """An item as somebody wants it written. Without a key it is a comment or a blank line.

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
class Release:
    """What was published: never changed afterwards. `configurations` is a JSON object of texts."""

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
    """The latest change of one address; ids rise over all addresses and never come again."""

    id: int
    address: Address


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest key and value in characters; the defaults are Apollo's."""

    key: int = 128
    value: int = 20_000

    @property
    def body(self) -> int:
        """The largest request body in bytes: JSON may spell one character with twelve."""
        return 4 * 1024 * 1024 + 12 * self.value

    def check(self, draft: Draft) -> None:
        """Raise Refused if the item is too long."""
        if len(draft.key) > self.key:
            raise Refused(
                f"The key {draft.key[:32]!r}… has {len(draft.key)} characters; "
                f"{self.key} are allowed."
            )
        if len(draft.value) > self.value:
            raise Refused(
                f"The value of {draft.key!r} has {len(draft.value)} characters; "
                f"{self.value} are allowed."
            )
