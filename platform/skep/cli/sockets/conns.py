"""`platform conns`."""

import asyncio
import json
import time
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.wire import control
from skep.wire.mesh import Answer, Command, Mesh


@click.command("conns")
@for_platform
@click.argument("listener", default="")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(listener: str, as_json: bool, **flags: Any) -> None:
    """Show the listeners of the running platform and the connections of each, or of one."""
    run_dir = run_dir_of(flags)
    listeners = control.call(run_dir.control_socket, "status", timeout=10.0)["listeners"]

    async def ask() -> Answer:
        mesh = Mesh(run_dir.mesh_dir)
        try:
            return await mesh.ask(Command("sockets", listener=listener))
        finally:
            mesh.close()

    rows = asyncio.run(ask()).rows
    if as_json:
        click.echo(json.dumps({"listeners": listeners, "connections": rows}, indent=2))
    else:
        _show(listeners, rows)


def _show(listeners: dict[str, str], rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    places = _table("listener", "address", "connections")
    for name, url in listeners.items():
        places.add_row(name, escape(url), str(sum(row["listener"] == name for row in rows)))
    console.print(places)
    console.print()
    connections = _table("listener", "client", "age", "worker")
    for row in rows:
        age = f"{time.time() - row['since']:.0f} s" if "since" in row else "-"
        client = row["client"] or "-"
        connections.add_row(row["listener"], escape(client), age, row["worker"])
    console.print(connections)


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table
