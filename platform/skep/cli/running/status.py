"""`platform status`."""

import sys
import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.asking import ask, asking, show_json
from skep.cli.output import columns, duration, screen, tint
from skep.cli.releases import releases

_LISTENERS = {"http": "serving at", "admin": "admin at", "config": "config at"}


@click.command("status")
@asking
def command(as_json: bool, **flags: Any) -> None:
    """Show the state of the running platform: generation, slots, configuration, last rollout.

    Exit codes: 0 running, 1 degraded, 3 not running.
    """
    document = ask(flags, "status")
    if as_json:
        show_json(document)
    else:
        _show(document)
    sys.exit(1 if document["state"] == "degraded" else 0)


def _show(document: dict[str, Any]) -> None:
    console = screen()
    for name, value in _facts(document):
        # Not in a table: that would break a path or a release key in two.
        console.print(f"[dim]{name:<14}[/dim]{value}", soft_wrap=True)
    slots = columns("slot", "pid", "state", "crashes", right=("pid", "crashes"))
    for slot in document["slots"]:
        name = f"{slot['slot']}@{slot['generation']}" if slot["generation"] else slot["slot"]
        slots.add_row(name, str(slot["pid"] or "-"), tint(slot["state"]), str(slot["crashes"]))
    console.print()
    console.print(slots)


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    config, listeners = document["config"], document["listeners"]
    facts = [
        ("state", tint(document["state"])),
        *(("", f"[yellow]{escape(r)}[/yellow]") for r in document["reasons"]),
        ("generation", f"{document['generation']}{_watched(document)}"),
        ("uptime", f"{duration(document['uptime'])} (pid {document['pid']})"),
        *((_LISTENERS.get(name, name), listeners[name]) for name in sorted(listeners, key=_rank)),
        ("plugins", ", ".join(document["plugins"]) or "none"),
        *([("not run here", _left_out(document["left_out"]))] if document["left_out"] else []),
        ("config", _config(config)),
        *(("release", text) for text in releases(config)),
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


def _left_out(kinds: list[str]) -> str:
    return f"{', '.join(kinds)} (left out by PLATFORM_KINDS)"


def _config(config: dict[str, Any]) -> str:
    where = " ".join(str(config.get(k, "")) for k in ("app_id", "cluster"))
    error = f" [yellow]{escape(config['last_error'])}[/yellow]" if config.get("last_error") else ""
    return escape(f"{where} from {config.get('url', '')} ({config['source']})") + error


def _rollout(report: dict[str, Any]) -> str:
    ago = time.time() - report["at"]
    reason = f" ({report['reason']})" if report["reason"] else ""
    return escape(f"{report['outcome']} {duration(ago)} ago, {report['cause']}{reason}")


def _place(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}: " if problem["file"] else ""
    plugin = f"plugin {problem['plugin']}: " if problem["plugin"] else ""
    return escape(f"{plugin}{place}{problem['message']}")


def _rank(name: str) -> tuple[bool, str]:
    return name != "http", name
