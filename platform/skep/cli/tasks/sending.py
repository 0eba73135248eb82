"""What `platform task send` and `platform event fire` share: a worker delivers, on given terms."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from skep.base.errors import UsageError
from skep.cli.platform_handle import PlatformHandle
from skep.wire.control import LONGEST_QUESTION, CommandFailed

# Longer than the supervisor waits for the worker.
_PATIENCE = 20.0
_COMMANDS = {"task": "task.send", "event": "event.fire"}
_OPTIONS = {
    "delay": click.option("--delay", type=float, help="The least seconds it waits."),
    "tries": click.option("--tries", type=int, help="How many attempts it has."),
    "priority": click.option("--priority", type=int, help="Higher priorities start first."),
    "queue": click.option("--queue", help="The queue it waits in."),
    "key": click.option("--key", help="Its unique key."),
}


def terms_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with the options of these terms of a delivery."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return decorate


def send(
    platform: PlatformHandle,
    what: Literal["task", "event"],
    name: str,
    values: Sequence[str],
    terms: dict[str, Any],
) -> dict[str, Any]:
    """Let a worker deliver the task or fire the event of this name; return the receipt.

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
