"""How verbs show values and what differs between two states of the configuration."""

import json
from collections.abc import Iterable, Mapping

from rich.markup import escape

from skep.base.masking import mask_value
from skep.cli.output import screen
from skep.config.snapshot import diff

_LONGEST = 120
# One key of two environments: its old and its new value, None where it is not set.
Difference = tuple[str, str | None, str | None]


def value(text: str | None) -> str:
    """Return a masked value as it may be shown: one line, no control characters, not too long."""
    if text is None:
        return "[dim]not set[/dim]"
    shown = text if text.isprintable() else json.dumps(text, ensure_ascii=not text.isprintable())
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}… ({len(text)} characters)"
    return escape(shown) if shown else "[dim]empty[/dim]"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Difference]:
    """Return every key that differs, with its masked values."""
    found = diff(old, new)
    return [
        (key, _masked(key, old.get(key)), _masked(key, new.get(key)))
        for key in sorted((*found.added, *found.changed, *found.removed))
    ]


def print_differences(found: Iterable[Difference]) -> None:
    """Print what differs as `diff` does: the old lines with a minus, the new ones with a plus."""
    console = screen()
    for key, old, new in found:
        for sign, text, colour in (("-", old, "red"), ("+", new, "green")):
            if text is not None:
                line = f"[{colour}]{sign} {escape(key)}={value(text)}[/{colour}]"
                console.print(line, soft_wrap=True)


def as_json(found: Iterable[Difference]) -> list[dict[str, str | None]]:
    """Return differences for programs."""
    return [{"key": key, "old": old, "new": new} for key, old, new in found]


def _masked(key: str, text: str | None) -> str | None:
    return None if text is None else mask_value(key, text)
