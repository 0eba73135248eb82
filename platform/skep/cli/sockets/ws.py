"""`platform ws`: the WebSockets of the running platform, from outside."""

import asyncio
import json
import time
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skep.base.errors import UsageError
from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.wire import control
from skep.wire.mesh import Answer, Command, Mesh

_TARGETS = ("user", "room", "connection")
_TARGET = "TARGET is user:NAME, room:NAME, connection:ID or all."


@click.group("ws")
def command() -> None:
    """List, reach and close the WebSockets of the running platform."""


@command.command("ls", epilog=_TARGET)
@for_platform
@click.argument("target", default="all")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def ls(target: str, as_json: bool, **flags: Any) -> None:
    """Show who is connected."""
    rows = _ask(flags, Command("list", **_read(target))).rows
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("connection", "user", "rooms", "path", "client", "age", "worker"):
        table.add_column(heading)
    for row in rows:
        rooms, age = ", ".join(row["rooms"]), f"{time.time() - row['since']:.0f} s"
        user = row["user"] or "-"
        cells = (row["id"], user, rooms, row["path"], row["client"], age, row["worker"])
        table.add_row(*(escape(cell) for cell in cells))
    Console(highlight=False).print(table)


@command.command("push", epilog=_TARGET)
@for_platform
@click.argument("target")
@click.argument("text")
def push(target: str, text: str, **flags: Any) -> None:
    """Send TEXT as a message; say how many connections got it."""
    answer = _ask(flags, Command("push", text=text, **_read(target)))
    click.echo(f"Sent to {_count(answer.count)}.")


@command.command("kick", epilog=_TARGET)
@for_platform
@click.argument("target")
@click.option("--code", type=int, default=1000, help="1000, or 3000 to 4999. [default: 1000]")
@click.option("--reason", default="", help="What the client is told, 123 bytes at most.")
def kick(target: str, code: int, reason: str, **flags: Any) -> None:
    """Close connections; say how many."""
    if code != 1000 and not 3000 <= code <= 4999:
        raise UsageError(f"--code is {code}; it takes 1000 or a number from 3000 to 4999.")
    if len(reason.encode()) > 123:
        raise UsageError("--reason is too long; a close frame has room for 123 bytes.")
    answer = _ask(flags, Command("kick", code=code, reason=reason, **_read(target)))
    click.echo(f"Closed {_count(answer.count)}.")


def _read(target: str) -> dict[str, Any]:
    kind, _, name = target.partition(":")
    if target == "all":
        return {}
    if kind not in _TARGETS or not name:
        raise UsageError(f"The target is {target!r}. {_TARGET}")
    return {kind: name}


def _ask(flags: dict[str, Any], question: Command) -> Answer:
    run_dir = run_dir_of(flags)
    control.call(run_dir.control_socket, "ready", timeout=10.0)  # to say it when none is running

    async def ask() -> Answer:
        mesh = Mesh(run_dir.mesh_dir)
        try:
            return await mesh.ask(question)
        finally:
            mesh.close()

    return asyncio.run(ask())


def _count(number: int) -> str:
    return f"{number} connection{'' if number == 1 else 's'}"
