"""`platform event fire`, and what it shares with `platform task send`: a worker delivers."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from skep.base.errors import UsageError
from skep.cli.output import show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.wire.control import LONGEST_QUESTION, CommandFailed

# Longer than the supervisor waits for the worker.
_PATIENCE = 20.0
_COMMANDS = {"task": "task.send", "event": "event.fire"}


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the terms of a delivery that tasks and events have."""
    for option in (
        click.option("--queue", help="The queue it waits in."),
        click.option("--priority", type=int, help="Higher priorities start first."),
        click.option("--tries", type=int, help="How many attempts it has."),
        click.option("--delay", type=float, help="How many seconds it waits at least."),
    ):
        command = option(command)
    return command


def send(
    platform: PlatformHandle,
    what: Literal["task", "event"],
    name: str,
    values: Sequence[str],
    terms: dict[str, Any],
) -> dict[str, Any]:
    """Ask a worker to deliver the task or fire the event of this name; return the receipt.

    If `-` is the only value, standard input is the value. Raises UsageError when the payload or the
    terms do not fit.
    """
    if tuple(values) == ("-",):  # every user of the machine can read a command line
        values = (sys.stdin.read(),)
    if len(json.dumps(values)) > LONGEST_QUESTION:
        raise UsageError(
            f"The payload is longer than {LONGEST_QUESTION} bytes: deliver it from code."
        )
    given = {term: value for term, value in terms.items() if value is not None}
    named: dict[str, Any] = {what: name, "values": values, "terms": given}
    try:
        receipt: dict[str, Any] = platform.ask(_COMMANDS[what], timeout=_PATIENCE, **named)
    except CommandFailed as error:
        if error.code == "usage":
            raise UsageError(str(error)) from error
        raise
    return receipt


@click.group("event")
def event() -> None:
    """Fire events by hand."""


@verb("fire", group=event, json=True)
@terms_options
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
