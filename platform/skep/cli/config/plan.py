"""`platform config plan`."""

from typing import Any

import click
from rich.markup import escape

from skep.cli.differences import value
from skep.cli.options import platform_options
from skep.cli.output import print_json, print_table
from skep.cli.site import SOURCE, Site, print_held

_COLOURS = {"live": "green", "unused": "dim", "rollout": "cyan", "restart": "yellow"}


@click.command("plan")
@platform_options(*SOURCE)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(as_json: bool, **flags: Any) -> None:
    """Show what applying what is published would change in the running platform, and how.

    The action says what a change takes: live and unused need no new worker, rollout replaces the
    workers one generation by the next, restart waits for the next start of the platform.
    """
    site = Site(flags)
    path = ""
    if site.status is not None:
        assembly = site.pull()
        path = str(site.archive.stage(assembly.snapshot()))
        print_held(assembly)
    plan = site.ask("config.plan", snapshot=path)
    if as_json:
        print_json(plan)
    elif not plan:
        click.echo("Nothing would change.")
    else:
        headings = ("key", "old", "new", "layer", "action")
        print_table(headings, [_row(effect) for effect in plan])


def _row(effect: dict[str, Any]) -> tuple[str, ...]:
    action = effect["action"]
    colour = _COLOURS.get(action, "default")
    tinted = f"[{colour}]{action}[/{colour}]"
    layer = effect["layer"] or "[dim]gone[/dim]"
    return escape(effect["key"]), value(effect["old"]), value(effect["new"]), layer, tinted
