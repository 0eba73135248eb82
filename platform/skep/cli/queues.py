"""`platform queue …`: how full the queues are, and whether they are served."""

from typing import Any

import click
from msgspec.structs import asdict

from skep.cli.deliveries import ask_store, show
from skep.cli.options import for_platform

_COLUMNS = ("queue", "ready", "leased", "scheduled", "blocked", "dead", "oldest", "paused")


@click.group("queue")
def command() -> None:
    """Look at queues, and stop and resume serving them."""


@command.command("ls")
@for_platform
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool, **flags: Any) -> None:
    """List the queues that hold anything or are paused."""
    stats = ask_store(flags, lambda engine: engine.stats())
    found = [
        {"queue": queue, **asdict(one), "oldest": one.oldest / 1000 or None}
        for queue, one in stats.items()
    ]
    show(found, as_json, _COLUMNS)


@command.command("pause")
@for_platform
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def pause(queues: tuple[str, ...], **flags: Any) -> None:
    """Start nothing more from these queues, until they are resumed; restarts do not matter.

    What runs goes on, and what is delivered is kept.
    """
    ask_store(flags, lambda engine: engine.pause(queues))
    click.echo(f"Paused: {', '.join(queues)}.")


@command.command("resume")
@for_platform
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
def resume(queues: tuple[str, ...], **flags: Any) -> None:
    """Serve these queues again."""
    ask_store(flags, lambda engine: engine.pause(queues, paused=False))
    click.echo(f"Resumed: {', '.join(queues)}.")
