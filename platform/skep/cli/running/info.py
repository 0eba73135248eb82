"""`platform info`."""

import platform as machine
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from skep.base.errors import NotRunning
from skep.cli.asking import ask, asking, show_json
from skep.cli.output import columns, screen

_COMPONENTS = (
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
    "pydantic",
    "apscheduler",
    "httpx",
    "prometheus-client",
    "redis",
)
_SERVES = {
    "http": ("HTTP, WebSocket", "web workers"),
    "admin": ("HTTP", "agent: /metrics, /healthz, /readyz"),
    "config": ("HTTP, Apollo's protocol", "embedded config server"),
}


@click.command("info")
@asking
def command(as_json: bool, **flags: Any) -> None:
    """Show what the platform is made of: versions, listeners and protocols, plugins and what they
    declare.

    The exit code is 3 when no platform is running; the versions are shown all the same.
    """
    try:
        running = ask(flags, "info")
    except NotRunning:
        running = None
    document = {"components": _components(), "running": running}
    if as_json:
        show_json(document)
    else:
        _show(screen(), document["components"], running)
    sys.exit(0 if running else NotRunning.exit_code)


def _components() -> dict[str, str]:
    found = {
        "skep": version("skep"),
        machine.python_implementation(): machine.python_version(),
        machine.system(): machine.release(),
    }
    for name in _COMPONENTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _show(console: Console, components: dict[str, str], running: dict[str, Any] | None) -> None:
    table = columns("component", "version")
    for name, text in components.items():
        table.add_row(name, text)
    console.print(table)
    console.print()
    if running is None:
        console.print("[yellow]No platform is running here.[/yellow]")
        return
    _listeners(console, running)
    _plugins(console, running)


def _listeners(console: Console, running: dict[str, Any]) -> None:
    table = columns("protocol", "served by", "listening at")
    for name, url in running["listeners"].items():
        protocol, handler = _SERVES.get(name, (name, "web workers"))
        table.add_row(protocol, handler, url)
    console.print(table)
    console.print()


def _plugins(console: Console, running: dict[str, Any]) -> None:
    plan = running["plan"]
    counts = ", ".join(f"{count} {kind}" for kind, count in running["kinds"].items())
    table = columns("", f"generation {running['generation']} of {running['app_id']}")
    table.add_row("workers", counts or "none")
    for heading, name in (
        ("plugins", "plugins"),
        ("routes", "routes"),
        ("tasks", "tasks"),
        ("events", "listeners"),
        ("crons", "crons"),
    ):
        items = plan.get(name) or ["none"]
        for number, item in enumerate(items):
            table.add_row(heading if number == 0 else "", escape(str(item)))
    console.print(table)
