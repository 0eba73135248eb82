"""`platform dead …`: the dead letters."""

import sys
from collections.abc import Callable
from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.options import for_platform
from skep.cli.tasks.store_client import ask_store, document, rows_of, show
from skep.engine.base import Edit, Engine

_COLUMNS = ("id", "name", "queue", "reason", "attempt", "losses", "put_at", "error")


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the ways to say which dead letters are meant."""
    for option in (
        click.argument("deliveries", nargs=-1, metavar="[ID...]"),
        click.option("--name", default="", help="With --all: whose name begins so."),
        click.option("--queue", default="", help="With --all: of this queue only."),
        click.option("--all", "every", is_flag=True, help="All, or all that these options leave."),
    ):
        command = option(command)
    return command


@click.group("dead")
def command() -> None:
    """Look at dead letters, run them again or forget them."""


@command.command("ls")
@for_platform
@click.option("--queue", default="", help="Of this queue only.")
@click.option("--name", default="", help="Of tasks and listeners whose name begins so.")
@click.option("-n", "most", default=100, show_default=True, help="No more than so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with whole tracebacks.")
def ls(queue: str, name: str, most: int, as_json: bool, **flags: Any) -> None:
    """List what was given up, and why."""
    found = ask_store(flags, lambda engine: rows_of(engine, queue, ("dead",), most, name))
    show([document(row) for row in found], as_json, _COLUMNS)


@command.command("retry")
@for_platform
@_chosen
def retry(**flags: Any) -> None:
    """Run dead letters again as if new."""
    _edit("requeue", "will run again", flags)


@command.command("delete")
@for_platform
@_chosen
def delete(**flags: Any) -> None:
    """Forget dead letters."""
    _edit("delete", "forgotten", flags)


def _edit(op: Edit, what: str, flags: dict[str, Any]) -> None:
    if bool(flags["deliveries"]) == flags["every"]:
        raise UsageError("Name the dead letters by their ids, or say --all.")

    async def run(engine: Engine) -> tuple[int, int]:
        rows = await rows_of(engine, flags["queue"], ("dead",), sys.maxsize, flags["name"])
        wanted = frozenset(flags["deliveries"])
        ids = [row.envelope.id for row in rows if flags["every"] or row.envelope.id in wanted]
        return await engine.edit(ids, op) if ids else 0, len(ids if flags["every"] else wanted)

    done, asked = ask_store(flags, run)
    click.echo(f"{done} of {asked} {what}.")
    if done < asked:
        sys.exit(1)
