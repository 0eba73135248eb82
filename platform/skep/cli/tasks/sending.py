"""What `platform task send` and `platform event fire` share: a worker delivers, on given terms."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from skep.base.errors import UsageError
from skep.cli.asking import ask
from skep.wire.control import LONGEST_QUESTION, CommandFailed

# Longer than the supervisor waits for the worker.
_PATIENCE = 20.0
_COMMANDS = {"task": "task.send", "event": "event.fire"}
_OPTIONS = {
    "delay": click.option("--delay", type=float, help="Seconds it waits at least."),
    "tries": click.option("--tries", type=int, help="How often it may be tried."),
    "priority": click.option("--priority", type=int, help="Higher ones are started first."),
    "queue": click.option("--queue", help="Where it waits."),
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
    what: Literal["task", "event"], name: str, values: Sequence[str], flags: dict[str, Any]
) -> dict[str, Any]:
    """Have a worker deliver the task or fire the event of this name; return the receipt.

    The only value `-` stands for what standard input holds.

    Raises UsageError when the payload or the terms do not fit.
    """
    if tuple(values) == ("-",):  # what stands in argv can be read by every user of the machine
        values = (sys.stdin.read(),)
    if len(json.dumps(values)) > LONGEST_QUESTION:
        raise UsageError(
            f"The payload is longer than {LONGEST_QUESTION} bytes: deliver it from code."
        )
    terms = {term: flags[term] for term in _OPTIONS if flags.get(term) is not None}
    try:
        named: dict[str, Any] = {what: name, "values": values, "terms": terms}
        receipt: dict[str, Any] = ask(flags, _COMMANDS[what], _PATIENCE, **named)
    except CommandFailed as error:
        if error.code == "usage":
            raise UsageError(str(error)) from error
        raise
    return receipt
