"""`platform status`."""

import sys
import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.config.status import release_lines
from skep.cli.output import duration, json_option, print_facts, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, for_platform

_LISTENERS = {"http": "serving at", "admin": "admin at", "config": "config at"}


@click.command("status")
@for_platform()
@json_option
def status(platform: PlatformHandle, as_json: bool) -> None:
    """Show the state of the running platform: generation, slots, configuration, last rollout.

    Exit codes: 0 running, 1 degraded, 3 not running.
    """
    document = platform.ask("status")
    show(document, as_json, _print)
    sys.exit(1 if document["state"] == "degraded" else 0)


def _print(document: dict[str, Any]) -> None:
    print_facts(_facts(document))
    click.echo()
    slots = [_slot(slot) for slot in document["slots"]]
    print_table(("slot", "pid", "state", "crashes"), slots, right=("pid", "crashes"))


def _slot(slot: dict[str, Any]) -> tuple[str, ...]:
    name = f"{slot['slot']}@{slot['generation']}" if slot["generation"] else slot["slot"]
    return name, str(slot["pid"] or "-"), tint(slot["state"]), str(slot["crashes"])


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
        *(("release", text) for text in release_lines(config)),
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
