"""A group of verbs, each in a module that is imported when the verb is used."""

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click


class Verbs(click.Group):
    """Knows its verbs by name, module and one line of help.

    The verb `log-level` is the attribute `log_level` of its module, and `import` is `import_`.
    """

    def __init__(
        self, package: str, verbs: Mapping[str, tuple[str, str]], **attributes: Any
    ) -> None:
        super().__init__(**attributes)
        self._package = package
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._verbs:
            return None
        module = import_module(f"{self._package}.{self._verbs[cmd_name][0]}")
        attribute = cmd_name.replace("-", "_")
        if iskeyword(attribute):
            attribute += "_"
        command: click.Command = getattr(module, attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without importing all modules.
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in self._verbs.items()])
