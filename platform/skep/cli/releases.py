"""How `status` and `config status` show which releases are in force."""

import time
from collections.abc import Iterator
from typing import Any

from rich.markup import escape


def releases(document: dict[str, Any]) -> Iterator[str]:
    """Return for each namespace its release, since when it is in force, and why there is no newer
    one."""
    for one in document["releases"]:
        text = f"{one['namespace']} {one['release_key'] or 'without a release'}"
        if one["since"]:
            text += f" since {moment(one['since'])}"
        yield escape(text)
        if one["not_newer"]:
            yield f"[yellow]{escape('not newer: ' + one['not_newer'])}[/yellow]"


def moment(seconds: float) -> str:
    """Return a moment for people, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
