"""`platform dead …`: the dead letters."""

import sys
from collections.abc import Callable
from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.output import json_option
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.tasks.store_client import ask_store, document, rows_of, show_rows
from skep.engine.contract import Edit, Engine

_COLUMNS = ("id", "name", "queue", "reason", "attempt", "losses", "put_at", "error")


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the ways to choose dead letters."""
    for option in (
        click.argument("deliveries", nargs=-1, metavar="[ID...]"),
        click.option("--name", default="", help="With --all: whose name begins so."),
        click.option("--queue", default="", help="With --all: of this queue only."),
        click.option("--all", "every", is_flag=True, help="All that --queue and --name leave."),
    ):
        command = option(command)
    return command


@click.group("dead")
def dead() -> None:
    """List dead letters, run them again or delete them."""


@dead.command("ls")
@for_platform()
@click.option("--queue", default="", help="Of this queue only.")
@click.option("--name", default="", help="Of tasks and listeners whose name begins so.")
@click.option("-n", "most", default=100, show_default=True, help="How many at most.")
@json_option
def ls(platform: PlatformHandle, queue: str, name: str, most: int, as_json: bool) -> None:
    """List the dead letters, with reasons; --json has the whole tracebacks."""
    found = ask_store(platform, lambda engine: rows_of(engine, queue, ("dead",), most, name))
    show_rows([document(row) for row in found], as_json, _COLUMNS)


@dead.command("retry")
@for_platform()
@_chosen
def retry(platform: PlatformHandle, **chosen: Any) -> None:
    """Run dead letters again as if new."""
    _edit(platform, "requeue", "will run again", **chosen)


@dead.command("delete")
@for_platform()
@_chosen
def delete(platform: PlatformHandle, **chosen: Any) -> None:
    """Delete dead letters."""
    _edit(platform, "delete", "forgotten", **chosen)


def _edit(
    platform: PlatformHandle,
    op: Edit,
    what: str,
    *,
    deliveries: tuple[str, ...],
    queue: str,
    name: str,
    every: bool,
) -> None:
    if bool(deliveries) == every:
        raise UsageError("Give the ids of the dead letters, or say --all.")

    async def run(engine: Engine) -> tuple[int, int]:
        rows = await rows_of(engine, queue, ("dead",), sys.maxsize, name)
        wanted = frozenset(deliveries)
        ids = [row.envelope.id for row in rows if every or row.envelope.id in wanted]
        return await engine.edit(ids, op) if ids else 0, len(ids if every else wanted)

    done, asked = ask_store(platform, run)
    click.echo(f"{done} of {asked} {what}.")
    if done < asked:
        sys.exit(1)
