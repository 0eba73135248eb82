"""`platform config explain KEY`."""

import sys
from typing import Any

import click
from rich.markup import escape

from skep.cli.config.diff import value
from skep.cli.output import json_option, print_table, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("explain")
@for_platform()
@click.argument("key")
@json_option
def explain(platform: PlatformHandle, key: str, as_json: bool) -> None:
    """Show every layer that sets KEY, in any case, the winner first.

    The running platform answers, because its environment is that of its start. If none runs, the
    answer is that of a start in this shell. Exit code 1: nothing sets the key.
    """
    if platform.status is not None:
        places = platform.ask("config.explain", timeout=None, key=key)
    else:
        places = [place.to_json() for place in platform.configurations.explain(key)]
    show(places, as_json, _print)
    if not places and not as_json:
        click.echo(f"No layer sets {key}.", err=True)
    sys.exit(0 if places else 1)


def _print(places: list[dict[str, Any]]) -> None:
    if places:
        rows = [_row(number, place) for number, place in enumerate(places)]
        print_table(("", "key", "layer", "value"), rows)


def _row(number: int, place: dict[str, Any]) -> tuple[str, ...]:
    mark = "[dim]-[/dim]" if number else "[green]wins[/green]"
    where = f" ({place['where']})" if place["where"] else ""
    return mark, escape(place["key"]), escape(place["layer"] + where), value(place["value"])
