"""`platform status`."""

import json
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skep.cli.options import platform_options
from skep.cli.running import run_dir_of
from skep.wire import control

_LISTENERS = {"http": "serving at", "admin": "admin at", "config": "config at"}
_COLOURS = {"running": "green", "ready": "green", "degraded": "yellow", "reloading": "cyan"}


@click.command("status")
@platform_options("data_dir")
@click.option("--json", "as_json", is_flag=True, help="Print the whole document as JSON.")
def command(as_json: bool, **flags: Any) -> None:
    """Show the state of the running platform: generation, slots, configuration, last rollout.

    Exit codes: 0 running, 1 degraded, 3 not running.
    """
    document = control.call(run_dir_of(flags).control_socket, "status", timeout=10.0)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        _show(document)
    sys.exit(1 if document["state"] == "degraded" else 0)


def _show(document: dict[str, Any]) -> None:
    console = Console(highlight=False)
    for name, value in _facts(document):
        # Not in a table: that would break a path or a release key in two.
        console.print(f"[dim]{name:<14}[/dim]{value}", soft_wrap=True)
    slots = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("slot", "pid", "state", "crashes"):
        slots.add_column(heading)
    for slot in document["slots"]:
        name = f"{slot['slot']}@{slot['generation']}" if slot["generation"] else slot["slot"]
        slots.add_row(name, str(slot["pid"] or "-"), _tint(slot["state"]), str(slot["crashes"]))
    console.print()
    console.print(slots)


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    config = document["config"]
    facts = [
        ("state", _tint(document["state"])),
        *(("", f"[yellow]{escape(r)}[/yellow]") for r in document["reasons"]),
        ("generation", f"{document['generation']}{_watched(document)}"),
        ("uptime", f"{document['uptime']:.0f} s (pid {document['pid']})"),
        *((_LISTENERS[name], url) for name, url in document["listeners"].items()),
        ("plugins", ", ".join(document["plugins"]) or "none"),
        ("config", _config(config)),
        *(("release", escape(f"{n} {key}")) for n, key in config["release_keys"].items()),
    ]
    if config["pinned"]:
        withheld = ", what was published since is withheld" if config["withheld"] else ""
        facts.append(("pinned", f"[yellow]to snapshot {config['pinned']}{withheld}[/yellow]"))
    if last := document["last_rollout"]:
        facts.append(("last rollout", _rollout(last)))
    if refused := document["refused"]:
        facts += [("refused", f"[red]{_place(p)}[/red]") for p in refused["problems"]]
    if keys := document["restart_required"]:
        facts.append(("restart", f"[yellow]needed for {', '.join(keys)}[/yellow]"))
    return facts


def _watched(document: dict[str, Any]) -> str:
    return " (on probation)" if document["on_probation"] else ""


def _config(config: dict[str, Any]) -> str:
    where = " ".join(str(config.get(k, "")) for k in ("app_id", "cluster"))
    error = f" [yellow]{escape(config['last_error'])}[/yellow]" if config.get("last_error") else ""
    return escape(f"{where} from {config.get('url', '')} ({config['source']})") + error


def _rollout(report: dict[str, Any]) -> str:
    ago = time.time() - report["at"]
    reason = f" ({report['reason']})" if report["reason"] else ""
    return escape(f"{report['outcome']} {ago:.0f} s ago, {report['cause']}{reason}")


def _place(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}: " if problem["file"] else ""
    plugin = f"plugin {problem['plugin']}: " if problem["plugin"] else ""
    return escape(f"{plugin}{place}{problem['message']}")


def _tint(state: str) -> str:
    colour = _COLOURS.get(state, "white")
    return f"[{colour}]{state}[/{colour}]"
