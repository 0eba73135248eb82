"""Items: the lines of a namespace as they will be published next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to write. Without a key it is a comment or a blank line.

    `type` is a hint for editors (0 string, 1 number, 2 boolean, 3 JSON); values are always text.
    `base` is the revision that the writer has read: another one in the file is a conflict. 0 means
    that the item must not exist yet, None that the writer does not mind.
    """

    key: str
    value: str
    comment: str = ""
    type: int = 0
    base: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a namespace; `line` gives the order, `revision` counts its changes from 1. Times
    are milliseconds since the epoch."""

    id: int
    key: str
    value: str
    comment: str
    type: int
    line: int
    revision: int
    created_by: str
    created_at: int
    modified_by: str
    modified_at: int


@dataclass(slots=True)
class ItemChanges:
    """What one save changed, as the commit log keeps it."""

    created: list[Item] = field(default_factory=list)
    updated: list[tuple[Item, Item]] = field(default_factory=list)
    deleted: list[Item] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)

    def document(self) -> dict[str, Any]:
        """Return the changes in the form of Apollo's commits."""
        return {
            "createItems": [_line(item) for item in self.created],
            "updateItems": [
                {"oldItem": _line(old), "newItem": _line(new)} for old, new in self.updated
            ],
            "deleteItems": [_line(item) for item in self.deleted],
        }


def values(items: Iterable[Item]) -> dict[str, str]:
    """Return what clients get of the items, in the editor's order: comments have no key."""
    return {item.key: item.value for item in items if item.key}


def restored(items: Sequence[Item | Draft], released: dict[str, str]) -> list[Draft]:
    """Return the lines of a namespace that is put back to a release: comments stay, items that are
    not in the release go, and its other keys come last."""
    kept = [
        Draft(item.key, released.get(item.key, item.value), item.comment, item.type)
        for item in items
        if not item.key or item.key in released
    ]
    present = {draft.key for draft in kept}
    return kept + [Draft(key, text) for key, text in released.items() if key not in present]


def _line(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "key": item.key,
        "type": item.type,
        "value": item.value,
        "comment": item.comment,
        "lineNum": item.line,
    }
