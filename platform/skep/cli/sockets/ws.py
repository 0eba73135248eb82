"""`platform ws`: the WebSockets of the running platform."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import UsageError
from skep.cli.output import json_option, print_table, show
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.sockets.mesh_client import ask_mesh
from skep.wire.mesh import Command

_TARGETS = ("user", "room", "connection")
_TARGET = "TARGET is user:NAME, room:NAME, connection:ID or all."
_LONGEST_REASON = 123  # what a close frame has room for, in bytes


@click.group("ws")
def ws() -> None:
    """List, reach and close the WebSockets of the running platform."""


@ws.command("ls", epilog=_TARGET)
@for_platform()
@click.argument("target", default="all")
@json_option
def ls(platform: PlatformHandle, target: str, as_json: bool) -> None:
    """Show who is connected."""
    show(ask_mesh(platform, Command("list", **_read(target))).rows, as_json, _print)


@ws.command("push", epilog=_TARGET)
@for_platform()
@click.argument("target")
@click.argument("text")
def push(platform: PlatformHandle, target: str, text: str) -> None:
    """Send TEXT as a message; print how many connections got it."""
    answer = ask_mesh(platform, Command("push", text=text, **_read(target)))
    click.echo(f"Sent to {_count(answer.count)}.")


@ws.command("kick", epilog=_TARGET)
@for_platform()
@click.argument("target")
@click.option("--code", type=int, default=1000, help="1000, or 3000 to 4999. [default: 1000]")
@click.option("--reason", default="", help="The reason for the client, 123 bytes at most.")
def kick(platform: PlatformHandle, target: str, code: int, reason: str) -> None:
    """Close connections; print how many."""
    if code != 1000 and not 3000 <= code <= 4999:
        raise UsageError(f"--code is {code}; it takes 1000 or a number from 3000 to 4999.")
    if len(reason.encode()) > _LONGEST_REASON:
        raise UsageError(f"--reason is longer than {_LONGEST_REASON} bytes; give a shorter one.")
    answer = ask_mesh(platform, Command("kick", code=code, reason=reason, **_read(target)))
    click.echo(f"Closed {_count(answer.count)}.")


def _print(rows: list[dict[str, Any]]) -> None:
    headings = ("connection", "user", "rooms", "path", "client", "age", "worker")
    print_table(headings, map(_row, rows))


def _row(row: dict[str, Any]) -> list[str]:
    rooms, age = ", ".join(row["rooms"]), f"{time.time() - row['since']:.0f} s"
    cells = (row["id"], row["user"] or "-", rooms, row["path"], row["client"], age, row["worker"])
    return [escape(cell) for cell in cells]


def _read(target: str) -> dict[str, Any]:
    kind, _, name = target.partition(":")
    if target == "all":
        return {}
    if kind not in _TARGETS or not name:
        raise UsageError(f"The target is {target!r}. {_TARGET}")
    return {kind: name}


def _count(number: int) -> str:
    return f"{number} connection{'' if number == 1 else 's'}"
