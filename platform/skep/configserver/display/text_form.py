"""A namespace as one text, and back; pure."""

import json
from collections.abc import Mapping, Sequence

from skep.base.errors import ConfigError
from skep.configserver.display.masked import shown, unmasked
from skep.configserver.model.formats import CONTENT, check_content
from skep.configserver.model.items import Draft, Item
from skep.configserver.model.names import file_format
from skep.configserver.model.properties import Comment, parse, render
from skep.configserver.model.refusals import InvalidRequest
from skep.pages.refusals import PageRefused


def is_file(namespace: str) -> bool:
    """Return whether the namespace is one text by its nature."""
    return file_format(namespace) != "properties"


def to_text(namespace: str, items: Sequence[Item], *, reveal: bool) -> str:
    """Return the text of a namespace, its secrets masked unless `reveal` is given."""

    def value(item: Item) -> str:
        return item.value if reveal else shown(namespace, item.key, item.value)

    if is_file(namespace):
        return next((value(item) for item in items if item.key == CONTENT), "")
    return "".join(
        render({item.key: value(item)}) if item.key else f"{_comment(item.comment)}\n"
        for item in items
    )


def to_drafts(namespace: str, text: str, items: Sequence[Item]) -> list[Draft]:
    """Return the lines that a text means; `items` are those that it was made from.

    Raises ConfigError, naming the line, for a text that is not of the namespace's format.
    """
    old = {item.key: item for item in items if item.key}
    if is_file(namespace):
        known = old.get(CONTENT)
        value = unmasked(namespace, CONTENT, text, known.value if known else None)
        check_content(namespace, CONTENT, value)
        return [Draft(CONTENT, value, known.comment if known else "")]
    drafts, seen = [], dict[str, int]()
    for entry in parse(text, namespace):
        if isinstance(entry, Comment):
            drafts.append(Draft("", "", entry.text))
            continue
        if entry.key in seen:
            raise InvalidRequest(
                f"{namespace}, line {entry.line}: the key {entry.key!r} stands in line "
                f"{seen[entry.key]} already."
            )
        if not entry.key:
            raise InvalidRequest(f"{namespace}, line {entry.line}: there is a value without a key.")
        seen[entry.key] = entry.line
        known = old.get(entry.key)
        value = unmasked(namespace, entry.key, entry.value, known.value if known else None)
        comment, kind = (known.comment, known.type) if known else ("", 0)
        drafts.append(Draft(entry.key, value, comment, kind))
    return drafts


def fault(namespace: str, text: str, items: Sequence[Item]) -> str:
    """Return what is wrong with a text, naming the line; nothing if it can be saved."""
    try:
        to_drafts(namespace, text, items)
    except (ConfigError, PageRefused) as error:
        return str(error)
    return ""


def revisions(items: Sequence[Item]) -> dict[str, int]:
    """Return the revisions by key that a person has read."""
    return {item.key: item.revision for item in items if item.key}


def read_revisions(text: str) -> dict[str, int]:
    """Return the revisions that a form carries. Raises PageRefused for another text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping) or not all(isinstance(n, int) for n in found.values()):
        raise PageRefused(400, "The form is damaged: load the page again.")
    return dict(found)


def _comment(text: str) -> str:
    # Scripts may write a comment without its sign, or with several lines.
    lines = text.split("\n")
    return "\n".join(
        line if line.startswith(("#", "!")) or not line.strip() else f"# {line}" for line in lines
    )
