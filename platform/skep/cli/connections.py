"""`platform conns` and `platform ws`: the connections of the running platform."""

import asyncio
import time
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import UsageError
from skep.cli.output import print_table, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.wire.mesh import Command, Mesh, MeshAnswer

_TARGETS = ("user", "room", "connection")
_TARGET = "TARGET is user:NAME, room:NAME, connection:ID or all."
_LONGEST_REASON = 123  # what a close frame has room for, in bytes


@verb("conns", json=True)
@click.argument("listener", default="")
def conns(platform: PlatformHandle, listener: str, as_json: bool) -> None:
    """Show the listeners of the running platform and the connections of each, or of one."""
    listeners = platform.ask("status")["listeners"]
    rows = _ask_mesh(platform, Command("sockets", listener=listener)).rows
    show({"listeners": listeners, "connections": rows}, as_json, _print_connections)


def _print_connections(document: dict[str, Any]) -> None:
    connections = document["connections"]
    listeners = [
        (name, escape(url), str(sum(row["listener"] == name for row in connections)))
        for name, url in document["listeners"].items()
    ]
    print_table(("listener", "address", "connections"), listeners)
    click.echo()
    print_table(("listener", "client", "age", "worker"), map(_connection_row, connections))


def _connection_row(row: dict[str, Any]) -> tuple[str, ...]:
    age = f"{time.time() - row['since']:.0f} s" if "since" in row else "-"
    return row["listener"], escape(row["client"] or "-"), age, row["worker"]


@click.group("ws")
def ws() -> None:
    """List, reach and close the WebSockets of the running platform."""


@verb("ls", group=ws, json=True, epilog=_TARGET)
@click.argument("target", default="all")
def ls(platform: PlatformHandle, target: str, as_json: bool) -> None:
    """Show who is connected."""
    show(_ask_mesh(platform, Command("list", **_read(target))).rows, as_json, _print_websockets)


@verb("push", group=ws, epilog=_TARGET)
@click.argument("target")
@click.argument("text")
def push(platform: PlatformHandle, target: str, text: str) -> None:
    """Send TEXT as a message; print how many connections received it."""
    answer = _ask_mesh(platform, Command("push", text=text, **_read(target)))
    click.echo(f"Sent to {_count(answer.count)}.")


@verb("kick", group=ws, epilog=_TARGET)
@click.argument("target")
@click.option("--code", type=int, default=1000, help="1000, or 3000 to 4999. [default: 1000]")
@click.option("--reason", default="", help="The reason for the client, 123 bytes at most.")
def kick(platform: PlatformHandle, target: str, code: int, reason: str) -> None:
    """Close connections; print how many."""
    if code != 1000 and not 3000 <= code <= 4999:
        raise UsageError(f"--code is {code}; it takes 1000 or a number from 3000 to 4999.")
    if len(reason.encode()) > _LONGEST_REASON:
        raise UsageError(f"--reason is longer than {_LONGEST_REASON} bytes; give a shorter one.")
    answer = _ask_mesh(platform, Command("kick", code=code, reason=reason, **_read(target)))
    click.echo(f"Closed {_count(answer.count)}.")


def _print_websockets(rows: list[dict[str, Any]]) -> None:
    headings = ("connection", "user", "rooms", "path", "client", "age", "worker")
    print_table(headings, map(_websocket_row, rows))


def _websocket_row(row: dict[str, Any]) -> list[str]:
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


def _ask_mesh(platform: PlatformHandle, question: Command) -> MeshAnswer:
    """Ask all web workers for their connections; return their answers as one."""
    platform.ask("ready")  # waits for a platform that is starting

    async def ask() -> MeshAnswer:
        mesh = Mesh(platform.run_dir.mesh_dir)
        try:
            return await mesh.ask(question)
        finally:
            mesh.close()

    return asyncio.run(ask())
