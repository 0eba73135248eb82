"""Options of the verbs that are settings of the platform, made from the one table of them."""

from collections.abc import Callable
from typing import Any, get_origin

import click

from skep.config.options.row import OptionRow
from skep.config.options.table import rows

# The settings that say where the files of a platform lie.
WHERE = ("data_dir", "env_file", "env")


def platform_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with the settings of these names; without names, with all that have a
    flag. A flag that is not given arrives as None, or as an empty tuple if it can be repeated."""
    chosen = [row for row in rows() if row.flag and (not names or row.name in names)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for row in reversed(chosen):
            command = _option(row)(command)
        return command

    return decorate


class _Option(click.Option):
    """An option whose other name, for those who come from elsewhere, is not in the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        every, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every


def for_platform(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a verb with the options that say which platform it is for."""
    return platform_options(*WHERE)(command)


def _option(row: OptionRow) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    named = [row.short, f"--{row.name.replace('_', '-')}", row.flag_alias]
    flags = list(filter(None, named))
    repeated = get_origin(row.type) is tuple
    default = ", ".join(row.default) if repeated else row.default
    shown = "" if default in ("", False) else f" [default: {default}]"
    text = f"{row.text}{shown}"
    if row.type is bool:
        return click.option(*flags, row.name, is_flag=True, default=None, help=text, cls=_Option)
    kind: Any = click.Choice(row.words) if row.words else str if repeated else row.type
    metavar = row.metavar or ("SECONDS" if row.type is float else None)
    return click.option(
        *flags, row.name, type=kind, multiple=repeated, help=text, metavar=metavar, cls=_Option
    )
