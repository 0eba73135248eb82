"""Options of the verbs that are settings of the platform, made from the one table of them."""

from collections.abc import Callable
from typing import Any, get_origin

import click

from skep.config.options import Row, rows


def platform_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with the settings of these names; without names, with all that have a
    flag. A flag that is not given arrives as None, or as an empty tuple if it can be repeated."""
    chosen = [row for row in rows() if row.flag and (not names or row.name in names)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for row in reversed(chosen):
            command = _option(row)(command)
        return command

    return decorate


def _option(row: Row) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [*([row.short] if row.short else []), f"--{row.name.replace('_', '-')}", row.name]
    repeated = get_origin(row.type) is tuple
    default = ", ".join(row.default) if repeated else row.default
    shown = "" if default in ("", False) else f" [default: {default}]"
    text = f"{row.text}{shown}"
    if row.type is bool:
        return click.option(*names, is_flag=True, default=None, help=text)
    kind: Any = click.Choice(row.words) if row.words else str if repeated else row.type
    return click.option(
        *names, type=kind, multiple=repeated, help=text, metavar=row.metavar or None
    )
