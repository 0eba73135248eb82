"""`platform task …` and `platform dead …`: deliveries and dead letters."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import click
from rich.markup import escape

from skep.base.errors import UsageError
from skep.cli.output import print_facts, print_markup, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.cli.tasks.event import send as send_delivery
from skep.cli.tasks.event import terms_options
from skep.cli.tasks.store_client import ask_store, document, rows_of, show_rows
from skep.engine.contract import DeliveryRow, Edit, Engine, Result, RowState

_STATES = get_args(RowState)
_COLUMNS = ("id", "name", "queue", "state", "attempt", "losses", "put_at", "due", "holder")
_DEAD_COLUMNS = ("id", "name", "queue", "reason", "attempt", "losses", "put_at", "error")
_UNKNOWN = 1


@click.group("task")
def task() -> None:
    """List, send, retry, cancel and purge deliveries."""


@verb("ls", group=task, json=True)
@click.option("--queue", default="", help="Of this queue only.")
@click.option("--state", type=click.Choice(_STATES), multiple=True, help="In this state only.")
@click.option("--name", default="", help="Of tasks and listeners whose name begins with this.")
@click.option("-n", "most", default=100, show_default=True, help="How many at most.")
def ls(
    platform: PlatformHandle,
    queue: str,
    state: tuple[RowState, ...],
    name: str,
    most: int,
    as_json: bool,
) -> None:
    """List what waits and runs; with --state dead, the dead letters."""
    states = state or ("leased", "ready", "blocked", "scheduled")
    found = ask_store(platform, lambda engine: rows_of(engine, queue, states, most, name))
    show_rows([document(row) for row in found], as_json, _COLUMNS)


@verb("show", group=task, json=True)
@click.argument("delivery", metavar="ID")
def show_one(platform: PlatformHandle, delivery: str, as_json: bool) -> None:
    """Show one delivery: its payload, its attempts, its progress, its last error.

    The exit code is 1 if it is not known: it has ended well, or never existed.
    """
    row, result = ask_store(platform, lambda engine: _look(engine, delivery))
    facts = {**(document(row) if row is not None else {}), **(_ended(result) if result else {})}
    show(facts or None, as_json, _print)
    if not facts:
        click.echo(
            f"Nothing is known of delivery {delivery}: it has ended, or never existed.", err=True
        )
        sys.exit(_UNKNOWN)


@verb("send", group=task, json=True)
@terms_options
@click.option("--key", help="Its unique key.")
@click.argument("name", metavar="TASK")
@click.argument("values", nargs=-1, metavar="[JSON | - | VALUE...]")
def send(
    platform: PlatformHandle, name: str, values: tuple[str, ...], as_json: bool, **terms: Any
) -> None:
    """Deliver a task by its name, with its fields as one JSON object or one by one:

    \b
    platform task send orders.SendReceipt '{"order_id": 7}'
    platform task send orders.SendReceipt 7
    platform task send orders.SendReceipt - < receipt.json

    With - the object comes from standard input: every user of this machine can read a command line.

    The fields are checked as in code: if they do not fit, the exit code is 2 and nothing is
    delivered. Without options the terms are those that the class declares. Prints the id.
    """
    show(send_delivery(platform, "task", name, values, terms), as_json, _print_receipt)


@verb("retry", group=task)
@click.argument("deliveries", nargs=-1, required=True, metavar="ID...")
def retry(platform: PlatformHandle, deliveries: tuple[str, ...]) -> None:
    """Run dead letters again as if new, and what is scheduled at once."""

    async def run(engine: Engine) -> int:
        rows = [row for delivery in deliveries if (row := await engine.find(delivery))]
        dead = [row.envelope.id for row in rows if row.state == "dead"]
        scheduled = [row.envelope.id for row in rows if row.state == "scheduled"]
        return await engine.edit(dead, "requeue") + await engine.edit(scheduled, "promote")

    _count(ask_store(platform, run), len(deliveries), "will run")


@verb("cancel", group=task)
@click.argument("deliveries", nargs=-1, required=True, metavar="ID...")
def cancel(platform: PlatformHandle, deliveries: tuple[str, ...]) -> None:
    """Cancel deliveries, and coroutines that run."""
    outcomes = ask_store(platform, lambda engine: engine.cancel(deliveries))
    done = sum(outcome != "unknown" for outcome in outcomes)
    _count(done, len(deliveries), "cancelled")


@verb("purge", group=task)
@click.option("--queue", required=True, help="The queue to empty.")
@click.option("--name", default="", help="Only tasks whose name begins with this.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def purge(platform: PlatformHandle, queue: str, name: str, yes: bool) -> None:
    """Delete what waits in a queue. Running tasks and dead letters stay."""

    async def waiting(engine: Engine) -> list[str]:
        rows = await rows_of(engine, queue, ("ready", "blocked", "scheduled"), sys.maxsize, name)
        return [row.envelope.id for row in rows]

    ids = ask_store(platform, waiting)
    if ids and not yes:
        click.confirm(f"Forget {len(ids)} deliveries of the queue {queue}?", abort=True)
    gone = ask_store(platform, lambda engine: engine.edit(ids, "delete")) if ids else 0
    click.echo(f"{gone} forgotten.")


async def _look(engine: Engine, delivery: str) -> tuple[DeliveryRow | None, Result | None]:
    return await engine.find(delivery), await engine.result(delivery)


def _ended(result: Result) -> dict[str, Any]:
    ended: dict[str, Any] = {"id": result.id, "state": result.ending}
    if result.ending == "done":
        ended["result"] = json.loads(result.body or b"null")
    return ended


def _print_receipt(receipt: dict[str, Any]) -> None:
    click.echo(receipt["id"])
    if receipt["duplicate"]:
        click.echo("It was there already: another delivery has its unique key.", err=True)


def _print(facts: dict[str, Any] | None) -> None:
    shown = {k: v for k, v in (facts or {}).items() if v not in (None, "", {}, False)}
    error = shown.pop("error", "")
    if shown:
        print_facts((name, escape(_fact(name, value))) for name, value in shown.items())
    if error:
        print_markup(f"\n{escape(error)}")


def _fact(name: str, value: Any) -> str:
    if name in ("put_at", "due"):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
    return value if isinstance(value, str) else json.dumps(value)


def _count(done: int, asked: int, what: str) -> None:
    """Print how many were done; exit with 1 if not all were."""
    click.echo(f"{done} of {asked} {what}.")
    if done < asked:
        sys.exit(_UNKNOWN)


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the ways to choose dead letters."""
    for option in (
        click.argument("deliveries", nargs=-1, metavar="[ID...]"),
        click.option("--name", default="", help="With --all: those whose name begins with this."),
        click.option("--queue", default="", help="With --all: of this queue only."),
        click.option("--all", "every", is_flag=True, help="All that --queue and --name leave."),
    ):
        command = option(command)
    return command


@click.group("dead")
def dead() -> None:
    """List dead letters, run them again or delete them."""


@verb("ls", group=dead, json=True)
@click.option("--queue", default="", help="Of this queue only.")
@click.option("--name", default="", help="Of tasks and listeners whose name begins with this.")
@click.option("-n", "most", default=100, show_default=True, help="How many at most.")
def list_dead(platform: PlatformHandle, queue: str, name: str, most: int, as_json: bool) -> None:
    """List the dead letters, with reasons; --json has the whole tracebacks."""
    found = ask_store(platform, lambda engine: rows_of(engine, queue, ("dead",), most, name))
    show_rows([document(row) for row in found], as_json, _DEAD_COLUMNS)


@verb("retry", group=dead)
@_chosen
def retry_dead(platform: PlatformHandle, **chosen: Any) -> None:
    """Run dead letters again as if new."""
    _edit(platform, "requeue", "will run again", **chosen)


@verb("delete", group=dead)
@_chosen
def delete_dead(platform: PlatformHandle, **chosen: Any) -> None:
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

    _count(*ask_store(platform, run), what)
