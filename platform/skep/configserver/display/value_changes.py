"""What differs between two configurations, for people; pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from skep.configserver.display.masked import is_masked, shown
from skep.configserver.model.items import Item
from skep.pages.line_diff import DiffLine, side_by_side

ChangeKind = Literal["added", "changed", "deleted"]


@dataclass(frozen=True, slots=True)
class ValueChange:
    """One key that differs. `hides` says that a secret is not shown."""

    key: str
    kind: ChangeKind
    lines: list[DiffLine]
    hides: bool


def changed_keys(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, ChangeKind]:
    """Return what turns `old` into `new`, in the order of `new` and then of `old`."""
    kinds: dict[str, ChangeKind] = {
        key: "changed" if key in old else "added"
        for key, value in new.items()
        if old.get(key) != value
    }
    return kinds | {key: "deleted" for key in old if key not in new}


def value_changes(
    namespace: str, old: Mapping[str, str], new: Mapping[str, str], *, reveal: bool = False
) -> list[ValueChange]:
    """Return each key that differs with both values side by side; secrets are masked unless
    `reveal` is given."""
    kinds = changed_keys(old, new)
    return [
        _change(namespace, key, kind, (old.get(key), new.get(key)), reveal, len(kinds))
        for key, kind in kinds.items()
    ]


def saved_changes(namespace: str, changes: Mapping[str, Any]) -> list[ValueChange]:
    """Return what one save changed, from the form in which a commit keeps it; secrets are masked,
    and lines without a key left out."""
    old = {one["key"]: one["value"] for one in changes["deleteItems"]}
    new = {one["key"]: one["value"] for one in changes["createItems"]}
    for pair in changes["updateItems"]:
        old[pair["oldItem"]["key"]] = pair["oldItem"]["value"]
        new[pair["newItem"]["key"]] = pair["newItem"]["value"]
    return value_changes(namespace, _keyed(old), _keyed(new))


def fingerprint(items: Iterable[Item]) -> str:
    """Return a short text that is another one after each save of an item. It is not made of values:
    it stands in pages where secrets are masked, and guesses could be held against it."""
    text = json.dumps(sorted((item.id, item.revision) for item in items if item.key))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _keyed(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key}


def _change(
    namespace: str,
    key: str,
    kind: ChangeKind,
    sides: tuple[str | None, str | None],
    reveal: bool,
    among: int,
) -> ValueChange:
    old, new = sides
    hides = not reveal and any(is_masked(namespace, key, text) for text in (old, new) if text)
    if hides:
        old, new = (text and shown(namespace, key, text) for text in (old, new))
    if old is None or new is None:
        text = (old if new is None else new) or ""
        lines = [
            DiffLine("deleted", n, one, 0, "") if new is None else DiffLine("added", 0, "", n, one)
            for n, one in enumerate(text.split("\n"), 1)
        ]
    elif old == new:
        # Both are behind the same mask.
        lines = [DiffLine("changed", n, one, n, one) for n, one in enumerate(old.split("\n"), 1)]
    else:
        lines = side_by_side(old, new, among=among)
    return ValueChange(key, kind, lines, hides)
