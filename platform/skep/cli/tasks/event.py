"""`platform event …`: make events known."""

import json
from typing import Any

import click

from skep.cli.options import for_platform
from skep.cli.tasks.sending import send, terms_options


@click.group("event")
def command() -> None:
    """Fire events by hand."""


@command.command("fire")
@for_platform
@terms_options("delay", "tries", "priority", "queue")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("name", metavar="EVENT")
@click.argument("values", nargs=-1, metavar="[JSON | - | VALUE...]")
def fire(name: str, values: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Fire an event by its name, with its fields as one JSON object or one by one:

    \b
    platform event fire orders.OrderPaid '{"order_id": 7}'
    platform event fire orders.OrderPaid 7
    platform event fire orders.OrderPaid - < paid.json

    It is checked as in code: what does not fit is exit code 2, and nothing is fired. Prints the id
    of the first delivery, and nothing when no plugin listens to the event.
    """
    receipt = send("event", name, values, flags)
    if as_json:
        click.echo(json.dumps(receipt))
    elif receipt["id"]:
        click.echo(receipt["id"])
    else:
        click.echo(f"No plugin listens to {name}.", err=True)
