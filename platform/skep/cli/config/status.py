"""`platform config status`."""

import sys
import time
from typing import Any

from rich.markup import escape

from skep.cli.config.published import SOURCE
from skep.cli.output import print_facts, release_lines, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.supervisor.config.in_force import releases_in_force


@verb("status", *SOURCE, json=True)
def status(platform: PlatformHandle, as_json: bool) -> None:
    """Show which configuration is applied, where it came from, and what was refused since.

    For each namespace: its release, since when it is applied, and why there is no newer one.

    \b
    Exit codes: 0 what is wanted is applied; 1 something was refused since;
    3 no platform runs here, what is on the disk is shown.
    """
    running = platform.status
    document = _on_disk(platform) if running is None else _of_running(running)
    show(document, as_json, lambda document: print_facts(_facts(document)))
    sys.exit(3 if running is None else 1 if document["refused"] else 0)


def _of_running(status: dict[str, Any]) -> dict[str, Any]:
    problems = status["refused"]["problems"] if status["refused"] else []
    return {
        "running": True,
        **status["config"],
        "refused": [problem["message"] for problem in problems],
        "restart_required": status["restart_required"],
    }


def _on_disk(platform: PlatformHandle) -> dict[str, Any]:
    applied, state = platform.archive.applied(), platform.history.state()
    options = platform.options
    keys = applied.release_keys() if applied else {}
    return {
        "running": False,
        "url": "",
        "app_id": options.app_id,
        "cluster": options.cluster,
        "namespaces": list(options.namespace),
        "source": "cache" if applied else "none",
        "release_keys": keys,
        "releases": releases_in_force(keys, state.releases, {}, ""),
        "last_pull_at": applied.fetched_at if applied else 0.0,
        "env_file": str(platform.env_file.absolute()),
        "keys": {"remote": len(platform.applied_values())},
        **{name: getattr(state, name) for name in ("applied", "good", "pinned")},
        "refused": [],
        "restart_required": [],
    }


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    names = " ".join([document.get("app_id", ""), document.get("cluster", "")])
    facts = [
        ("platform", "[green]running[/green]" if document["running"] else "not running"),
        ("follows", escape(f"{names} {document.get('url') or ''}".strip())),
        ("source", _source(document)),
        *(("release", text) for text in release_lines(document)),
        ("file", escape(document["env_file"])),
        ("keys", ", ".join(f"{n} {layer}" for layer, n in document["keys"].items())),
        ("snapshot", str(document.get("snapshot") or document.get("applied") or "none")),
    ]
    if document["pinned"]:
        facts.append(("pinned", f"[yellow]to snapshot {document['pinned']}[/yellow]"))
    if document.get("last_error"):
        facts.append(("trouble", f"[yellow]{escape(document['last_error'])}[/yellow]"))
    facts += [("refused", f"[red]{escape(text)}[/red]") for text in document["refused"]]
    if keys := document["restart_required"]:
        facts.append(("restart", f"[yellow]needed for {', '.join(keys)}[/yellow]"))
    return facts


def _source(document: dict[str, Any]) -> str:
    polled = {True: ", connected", False: ", not connected"}.get(document.get("connected", ""), "")
    pulled = document.get("last_pull_at") or 0.0
    ago = f", pulled {time.time() - pulled:.0f} s ago" if pulled else ""
    return f"{document['source']}{polled}{ago}"
