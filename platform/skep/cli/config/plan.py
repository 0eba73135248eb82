"""`platform config plan`."""

from typing import Any

import click
from rich.markup import escape

from skep.cli.config.diff import value
from skep.cli.config.published import SOURCE, print_held, pull
from skep.cli.output import json_option, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("plan")
@for_platform(*SOURCE)
@json_option
def plan(platform: PlatformHandle, as_json: bool) -> None:
    """Show what applying what is published would change in the running platform, and how.

    The action is what a change needs: live and unused need no new worker, rollout replaces the
    workers by a new generation, restart waits for the next start of the platform.
    """
    path = ""
    if platform.status is not None:
        assembly = pull(platform)
        path = str(platform.archive.stage(assembly.snapshot()))
        print_held(assembly)
    show(platform.ask("config.plan", timeout=None, snapshot=path), as_json, _print)


def _print(changes: list[dict[str, Any]]) -> None:
    if changes:
        print_table(("key", "old", "new", "layer", "action"), map(_row, changes))
    else:
        click.echo("Nothing would change.")


def _row(change: dict[str, Any]) -> tuple[str, ...]:
    old, new = value(change["old"]), value(change["new"])
    layer = change["layer"] or "[dim]gone[/dim]"
    return escape(change["key"]), old, new, layer, tint(change["action"])
