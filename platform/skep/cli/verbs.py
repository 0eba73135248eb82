"""A group of verbs, each in a module that is imported when it is used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Verbs(click.Group):
    """Knows its verbs by name and one line; the module of a verb has it as `command`.

    `modules` names those whose module is elsewhere or not called as they are.
    """

    def __init__(
        self,
        package: str,
        verbs: Mapping[str, str],
        modules: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._package = package
        self._verbs = verbs
        self._modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._verbs:
            return None
        name = self._modules.get(cmd_name, cmd_name.replace("-", "_"))
        module = import_module(f"{self._package}.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without loading all the modules.
        with formatter.section("Verbs"):
            formatter.write_dl(list(self._verbs.items()))
