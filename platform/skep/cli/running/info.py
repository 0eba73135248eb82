"""`platform info`."""

import platform as machine
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import NotRunning
from skep.cli.output import json_option, print_markup, print_table, show
from skep.cli.platform_handle import PlatformHandle, for_platform

_COMPONENTS = (
    *("uvicorn", "uvloop", "httptools", "starlette", "pydantic", "apscheduler", "httpx"),
    *("prometheus-client", "redis"),
)
_SERVES = {
    "http": ("HTTP, WebSocket", "web workers"),
    "admin": ("HTTP", "agent: metrics, health"),
    "config": ("HTTP, Apollo's protocol", "embedded config server"),
}
_DECLARED = {
    "plugins": "plugins",
    "routes": "routes",
    "tasks": "tasks",
    "events": "listeners",
    "crons": "crons",
}


@click.command("info")
@for_platform()
@json_option
def info(platform: PlatformHandle, as_json: bool) -> None:
    """Show what the platform is made of: versions, listeners and protocols, plugins and what they
    declare.

    The exit code is 3 if no platform is running; the versions are shown all the same.
    """
    try:
        running = platform.ask("info")
    except NotRunning:
        running = None
    show({"components": _components(), "running": running}, as_json, _print)
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


def _print(document: dict[str, Any]) -> None:
    running = document["running"]
    print_table(("component", "version"), document["components"].items())
    click.echo()
    if running is None:
        print_markup("[yellow]No platform is running here.[/yellow]")
        return
    listeners = running["listeners"].items()
    rows = [(*_SERVES.get(name, (name, "web workers")), escape(url)) for name, url in listeners]
    print_table(("protocol", "served by", "listening at"), rows)
    click.echo()
    title = f"generation {running['generation']} of {running['app_id']}"
    print_table(("", title), _declared(running))


def _declared(running: dict[str, Any]) -> list[tuple[str, str]]:
    counts = ", ".join(f"{count} {kind}" for kind, count in running["kinds"].items())
    rows = [("workers", counts or "none")]
    for heading, name in _DECLARED.items():
        items = running["plan"].get(name) or ["none"]
        rows += [("" if n else heading, escape(str(item))) for n, item in enumerate(items)]
    return rows
