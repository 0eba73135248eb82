"""`platform event …`."""

from typing import Any

import click

from skep.cli.output import json_option, show
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.tasks.sending import send, terms_options


@click.group("event")
def event() -> None:
    """Fire events by hand."""


@event.command("fire")
@for_platform()
@terms_options("delay", "tries", "priority", "queue")
@json_option
@click.argument("name", metavar="EVENT")
@click.argument("values", nargs=-1, metavar="[JSON | - | VALUE...]")
def fire(
    platform: PlatformHandle, name: str, values: tuple[str, ...], as_json: bool, **terms: Any
) -> None:
    """Fire an event by its name, with its fields as one JSON object or one by one:

    \b
    platform event fire orders.OrderPaid '{"order_id": 7}'
    platform event fire orders.OrderPaid 7
    platform event fire orders.OrderPaid - < paid.json

    The fields are checked as in code: if they do not fit, the exit code is 2 and nothing is fired.
    Prints the id of the first delivery, or nothing if no plugin listens to the event.
    """

    def print_id(receipt: dict[str, Any]) -> None:
        fired = receipt["id"]
        click.echo(fired or f"No plugin listens to {name}.", err=not fired)

    show(send(platform, "event", name, values, terms), as_json, print_id)
