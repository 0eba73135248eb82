"""`platform conns`."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.output import json_option, print_table, show
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.cli.sockets.mesh_client import ask_mesh
from skep.wire.mesh import Command


@click.command("conns")
@for_platform()
@click.argument("listener", default="")
@json_option
def conns(platform: PlatformHandle, listener: str, as_json: bool) -> None:
    """Show the listeners of the running platform and the connections of each, or of one."""
    listeners = platform.ask("status")["listeners"]
    rows = ask_mesh(platform, Command("sockets", listener=listener)).rows
    show({"listeners": listeners, "connections": rows}, as_json, _print)


def _print(document: dict[str, Any]) -> None:
    connections = document["connections"]
    listeners = [
        (name, escape(url), str(sum(row["listener"] == name for row in connections)))
        for name, url in document["listeners"].items()
    ]
    print_table(("listener", "address", "connections"), listeners)
    click.echo()
    print_table(("listener", "client", "age", "worker"), map(_row, connections))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    age = f"{time.time() - row['since']:.0f} s" if "since" in row else "-"
    return row["listener"], escape(row["client"] or "-"), age, row["worker"]
