"""`platform proc send`, `request` and `stream`: messages to custom processes by hand."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from skep.base.errors import PlatformError, UsageError
from skep.cli.platform_handle import PlatformHandle, verb
from skep.messaging import calls
from skep.messaging.binding import PostOffice
from skep.messaging.calls import LARGEST, TIMEOUT, OpenStream
from skep.messaging.waiting import Steps, run_blocking

T = TypeVar("T")


def _with_terms(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.argument("text", default="null", metavar="[JSON | -]"),
        click.argument("name"),
        click.option(
            "--timeout", type=float, default=TIMEOUT, show_default=True, help="Seconds to wait."
        ),
        click.option(
            "--if-down",
            type=click.Choice(["wait", "fail"]),
            default="wait",
            show_default=True,
            help="What to do while no process of that name runs.",
        ),
    ):
        command = option(command)
    return command


@verb("send")
@_with_terms
def send(platform: PlatformHandle, name: str, text: str, timeout: float, if_down: str) -> None:
    """Send a message to a process of the class NAME; print nothing.

    \b
    platform proc send ticker.Echo '{"x": 1}'
    platform proc send ticker.Echo - < message.json

    The message is one JSON value, null if it is left out. The exit code is 3 if no process takes
    it, and 5 if the inbox stays full.
    """
    _run(calls.send(_office(platform), name, _body(text), timeout, if_down))


@verb("request")
@_with_terms
def request(platform: PlatformHandle, name: str, text: str, timeout: float, if_down: str) -> None:
    """Send a message to a process of the class NAME; print the reply, as JSON.

    \b
    platform proc request ticker.Echo '{"x": 1}'

    The exit code is 1 if the process fails or ends, 2 if it does not take such a message, 3 if no
    process runs, and 5 if there is no reply in time.
    """
    office = _office(platform)
    click.echo(_json(_run(calls.request(office, name, _body(text), timeout, if_down, LARGEST)), 2))


@verb("stream")
@_with_terms
def stream(platform: PlatformHandle, name: str, text: str, timeout: float, if_down: str) -> None:
    """Send a message to a process of the class NAME; print each of its replies, as one line of
    JSON.

    The timeout is for each reply. The exit codes are those of `request`.
    """
    opened = OpenStream(_office(platform), name, _body(text), timeout, if_down, LARGEST)
    while (reply := _run(opened.next())) is not None:
        click.echo(_json(reply, -1))


def _run(steps: Steps[T]) -> T:
    try:
        return run_blocking(steps)
    except PlatformError:
        raise
    except ValueError as error:  # the timeout
        raise UsageError(str(error)) from error


def _office(platform: PlatformHandle) -> PostOffice:
    platform.ask("ready")  # waits for a platform that is starting
    return PostOffice(platform.run_dir.inboxes_dir)


def _body(text: str) -> bytes:
    if text == "-":  # every user of the machine can read a command line
        text = sys.stdin.read()
    try:
        return msgspec.msgpack.encode(json.loads(text))
    except (ValueError, RecursionError, OverflowError) as error:
        raise UsageError(f"The message {text[:200]!r} is not JSON: {error}.") from error


def _json(reply: bytes, indent: int) -> str:
    document = msgspec.json.encode(msgspec.msgpack.decode(reply))
    return msgspec.json.format(document, indent=indent).decode()
