"""Options of the verbs that are settings of the platform, made from the one table of them."""

from collections.abc import Callable, Mapping
from typing import Any, get_origin

import click

from skep.config.options.row import OptionRow
from skep.config.options.table import rows
from skep.supervisor.observers import service_manager
from skep.supervisor.sockets import inheritance

# The settings that say where the files of a platform lie.
WHERE = ("data_dir", "env_file", "env")
# Set for the process that `start -d` starts in the background.
DETACHED = "SKEP_DETACHED"
_FOR_US = inheritance.KEYS | service_manager.KEYS | {DETACHED}


def platform_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with the settings of these names; without names, with all that have a
    flag. A flag that is not given arrives as None, or as an empty tuple if it can be repeated."""
    chosen = [row for row in rows() if row.flag and (not names or row.name in names)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for row in reversed(chosen):
            command = _option(row)(command)
        return command

    return decorate


def start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a verb with all options of a start."""
    version = click.option(
        "-x", "--x-version", metavar="TEXT", help="What plugins find in the variable X_VERSION."
    )
    # For commands written for LaravelS; here, --config-server is enough.
    apollo = click.option("--enable-apollo", is_flag=True, hidden=True, expose_value=False)
    return platform_options()(version(apollo(command)))


def environment_for_children(
    environment: Mapping[str, str], x_version: str | None
) -> dict[str, str]:
    """Return the environment that workers start from, without the variables of the service
    manager."""
    base = {key: value for key, value in environment.items() if key not in _FOR_US}
    return base | ({"X_VERSION": x_version} if x_version else {})


class _Option(click.Option):
    """An option whose other name, for those who come from elsewhere, is not in the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        every, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every


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
