"""`platform config explain KEY`."""

import sys
from typing import Any

import click
from rich.markup import escape

from skep.cli.differences import value
from skep.cli.options import for_platform
from skep.cli.output import print_json, print_table
from skep.cli.site import Site


@click.command("explain")
@for_platform
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print the places as JSON.")
def command(key: str, as_json: bool, **flags: Any) -> None:
    """Show every place that sets KEY, whatever its case, the one that wins first.

    It is the running platform that answers, for its environment is that of its start. Where none
    runs, the answer is that of a start in this shell. Exit code 1: nothing sets the key.
    """
    site = Site(flags)
    if site.status is not None:
        places = site.ask("config.explain", key=key)
    else:
        places = [place.to_json() for place in site.configurations.explain(key)]
    if as_json:
        print_json(places)
    elif places:
        rows = [
            (_mark(n), escape(p["key"]), escape(_where(p)), value(p["value"]))
            for n, p in enumerate(places)
        ]
        print_table(("", "key", "layer", "value"), rows)
    else:
        click.echo(f"No layer sets {key}.", err=True)
    sys.exit(0 if places else 1)


def _mark(number: int) -> str:
    return "[dim]-[/dim]" if number else "[green]wins[/green]"


def _where(place: dict[str, str]) -> str:
    return f"{place['layer']} ({place['where']})" if place["where"] else place["layer"]
