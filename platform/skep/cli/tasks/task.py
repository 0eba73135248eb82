"""`platform task …`: what waits, runs and has ended badly."""

import json
import sys
from typing import Any, get_args

import click
from rich.console import Console
from rich.markup import escape

from skep.cli.options import for_platform
from skep.cli.tasks.sending import send, terms_options
from skep.cli.tasks.store_client import ask_store, document, moment, rows_of, show
from skep.engine.base import Engine, Result, Row, RowState

_STATES = get_args(RowState)
_COLUMNS = ("id", "name", "queue", "state", "attempt", "losses", "put_at", "due", "holder")
_UNKNOWN = 1


@click.group("task")
def command() -> None:
    """Look at deliveries and change what becomes of them."""


@command.command("ls")
@for_platform
@click.option("--queue", default="", help="Of this queue only.")
@click.option("--state", type=click.Choice(_STATES), multiple=True, help="In this state only.")
@click.option("--name", default="", help="Of tasks and listeners whose name begins so.")
@click.option("-n", "most", default=100, show_default=True, help="No more than so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(
    queue: str, state: tuple[RowState, ...], name: str, most: int, as_json: bool, **flags: Any
) -> None:
    """List what waits and runs; with --state dead, the dead letters."""
    states = state or ("leased", "ready", "blocked", "scheduled")
    found = ask_store(flags, lambda engine: rows_of(engine, queue, states, most, name))
    show([document(row) for row in found], as_json, _COLUMNS)


@command.command("show")
@for_platform
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("delivery", metavar="ID")
def show_one(delivery: str, as_json: bool, **flags: Any) -> None:
    """Show one delivery: its payload, its attempts, how far it is, its last error.

    The exit code is 1 when nothing is known of it: it has ended well, or never was.
    """
    row, result = ask_store(flags, lambda engine: _look(engine, delivery))
    facts = {**(document(row) if row is not None else {}), **(_ended(result) if result else {})}
    if as_json:
        click.echo(json.dumps(facts or None, indent=2))
    elif facts:
        _print(facts)
    if not facts:
        _not_known(delivery)


@command.command("send")
@for_platform
@terms_options("delay", "tries", "priority", "queue", "key")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("name", metavar="TASK")
@click.argument("values", nargs=-1, metavar="[JSON | - | VALUE...]")
def send_one(name: str, values: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Deliver a task by its name, with its fields as one JSON object or one by one:

    \b
    platform task send orders.SendReceipt '{"order_id": 7}'
    platform task send orders.SendReceipt 7
    platform task send orders.SendReceipt - < receipt.json

    With - the object comes from standard input: what stands on a command line can be read by every
    user of this machine.

    It is checked as in code: what does not fit is exit code 2, and nothing is delivered. Without
    options it waits on the terms that its class declares. Prints the id.
    """
    receipt = send("task", name, values, flags)
    if as_json:
        click.echo(json.dumps(receipt))
        return
    click.echo(receipt["id"])
    if receipt["duplicate"]:
        click.echo("It was there already: another delivery has its unique key.", err=True)


@command.command("retry")
@for_platform
@click.argument("deliveries", nargs=-1, required=True, metavar="ID...")
def retry(deliveries: tuple[str, ...], **flags: Any) -> None:
    """Run dead letters again as if new, and what is scheduled at once."""

    async def run(engine: Engine) -> int:
        rows = [row for delivery in deliveries if (row := await engine.find(delivery))]
        dead = [row.envelope.id for row in rows if row.state == "dead"]
        scheduled = [row.envelope.id for row in rows if row.state == "scheduled"]
        return await engine.edit(dead, "requeue") + await engine.edit(scheduled, "promote")

    _count(ask_store(flags, run), len(deliveries), "will run")


@command.command("cancel")
@for_platform
@click.argument("deliveries", nargs=-1, required=True, metavar="ID...")
def cancel(deliveries: tuple[str, ...], **flags: Any) -> None:
    """Have deliveries not happen; coroutines that run are cancelled."""
    outcomes = ask_store(flags, lambda engine: engine.cancel(deliveries))
    done = sum(outcome != "unknown" for outcome in outcomes)
    _count(done, len(deliveries), "cancelled")


@command.command("purge")
@for_platform
@click.option("--queue", required=True, help="The queue to empty.")
@click.option("--name", default="", help="Only tasks whose name begins so.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(queue: str, name: str, yes: bool, **flags: Any) -> None:
    """Forget all that waits in a queue. What runs goes on, dead letters stay."""

    async def waiting(engine: Engine) -> list[str]:
        rows = await rows_of(engine, queue, ("ready", "blocked", "scheduled"), sys.maxsize, name)
        return [row.envelope.id for row in rows]

    ids = ask_store(flags, waiting)
    if ids and not yes:
        click.confirm(f"Forget {len(ids)} deliveries of the queue {queue}?", abort=True)
    gone = ask_store(flags, lambda engine: engine.edit(ids, "delete")) if ids else 0
    click.echo(f"{gone} forgotten.")


async def _look(engine: Engine, delivery: str) -> tuple[Row | None, Result | None]:
    return await engine.find(delivery), await engine.result(delivery)


def _ended(result: Result) -> dict[str, Any]:
    ended: dict[str, Any] = {"id": result.id, "state": result.ending}
    if result.ending == "done":
        ended["result"] = json.loads(result.body or b"null")
    return ended


def _print(facts: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for name, value in facts.items():
        if value in (None, "", {}, False) or name == "error":
            continue
        text = moment(value) if name in ("put_at", "due") else value
        shown = text if isinstance(text, str) else json.dumps(text)
        console.print(f"[dim]{name:<10}[/dim]{escape(shown)}")
    if error := facts.get("error"):
        console.print(f"\n{escape(error)}")


def _count(done: int, asked: int, what: str) -> None:
    """Say how many it were; exit code 1 when it were not all."""
    click.echo(f"{done} of {asked} {what}.")
    if done < asked:
        sys.exit(_UNKNOWN)


def _not_known(delivery: str) -> None:
    click.echo(f"Nothing is known of a delivery {delivery}: it has ended, or never was.", err=True)
    sys.exit(_UNKNOWN)
