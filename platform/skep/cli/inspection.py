"""Verbs that show the running platform: `status`, `ps`, `info`, `history`, `dump`, `mem`."""

import platform as machine
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import NotRunning
from skep.cli.output import (
    duration,
    print_facts,
    print_markup,
    print_table,
    release_lines,
    show,
    size,
    tint,
)
from skep.cli.platform_handle import PlatformHandle, verb

_LISTENERS = {"http": "serving at", "admin": "admin at", "config": "config at"}
_PLATFORM = ("supervisor", "configserver", "store", "agent", "schedule", "nursery")
_KINDS = (*_PLATFORM, "zygote", "web", "task", "cron", "process")
_RESOURCES = ("rss", "cpu", "age", "threads", "fds")
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
    "tables": "tables",
    "processes": "processes",
}
_HISTORY = ("id", "when", "what", "outcome", "generation", "seconds", "asked by", "phases")
_HISTORY_NUMBERS = ("id", "generation", "seconds")
_SECONDS_OF_DAY = 86400
_SHORTEST_PHASE = 0.005  # shows as 0.01 s


@verb("status", json=True)
def status(platform: PlatformHandle, as_json: bool) -> None:
    """Show the state of the running platform: generation, slots, configuration, last rollout.

    Exit codes: 0 running, 1 degraded, 3 not running.
    """
    document = platform.ask("status")
    show(document, as_json, _print_status)
    sys.exit(1 if document["state"] == "degraded" else 0)


def _print_status(document: dict[str, Any]) -> None:
    print_facts(_status_facts(document))
    click.echo()
    slots = [_slot(slot) for slot in document["slots"]]
    print_table(("slot", "pid", "state", "crashes"), slots, right=("pid", "crashes"))


def _slot(slot: dict[str, Any]) -> tuple[str, ...]:
    name = f"{slot['slot']}@{slot['generation']}" if slot["generation"] else slot["slot"]
    return name, str(slot["pid"] or "-"), tint(slot["state"]), str(slot["crashes"])


def _status_facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    config, listeners = document["config"], document["listeners"]
    watched = " (on probation)" if document["on_probation"] else ""
    names = sorted(listeners, key=lambda name: (name != "http", name))
    facts = [
        ("state", tint(document["state"])),
        *(("", f"[yellow]{escape(r)}[/yellow]") for r in document["reasons"]),
        ("generation", f"{document['generation']}{watched}"),
        ("uptime", f"{duration(document['uptime'])} (pid {document['pid']})"),
        *((_LISTENERS.get(name, name), listeners[name]) for name in names),
        ("plugins", ", ".join(document["plugins"]) or "none"),
    ]
    if kinds := document["left_out"]:
        facts.append(
            ("not run here", f"{', '.join(kinds)} (left out by PLATFORM_KINDS or PLATFORM_CRON)")
        )
    facts += [("config", _config(config)), *(("release", text) for text in release_lines(config))]
    if config["pinned"]:
        withheld = ", what was published since is withheld" if config["withheld"] else ""
        facts.append(("pinned", f"[yellow]to snapshot {config['pinned']}{withheld}[/yellow]"))
    if schedule := document["schedule"]:
        facts += [("schedule", line) for line in _schedule(schedule)]
    if last := document["last_rollout"]:
        facts.append(("last rollout", _rollout(last)))
    if refused := document["refused"]:
        facts += [("refused", f"[red]{_place(p)}[/red]") for p in refused["problems"]]
    if keys := document["restart_required"]:
        facts.append(("restart", f"[yellow]needed for {', '.join(keys)}[/yellow]"))
    return facts


def _config(config: dict[str, Any]) -> str:
    where = " ".join(str(config.get(k, "")) for k in ("app_id", "cluster"))
    error = f" [yellow]{escape(config['last_error'])}[/yellow]" if config.get("last_error") else ""
    return escape(f"{where} from {config.get('url', '')} ({config['source']})") + error


def _schedule(schedule: dict[str, Any]) -> list[str]:
    commands = schedule["commands"]
    coming = min((c for c in commands if c["next"]), key=lambda c: c["next"], default=None)
    lines = [f"{len(commands)} commands of {schedule['file']}"]
    if coming is not None:
        wait = max(0.0, coming["next"] - time.time())
        lines[0] += f", next {coming['name']} in {duration(wait)}"
    for command in commands:
        if command["pids"]:
            pids = ", ".join(str(pid) for pid in command["pids"])
            lines.append(f"{command['name']} is running (pid {pids})")
        elif command["last"]["outcome"] not in (None, "success"):
            ago = duration(time.time() - command["last"]["ended"])
            lines.append(f"{command['name']}: {command['last']['outcome']} {ago} ago")
    return [escape(line) for line in lines]


def _rollout(report: dict[str, Any]) -> str:
    ago = time.time() - report["at"]
    reason = f" ({report['reason']})" if report["reason"] else ""
    return escape(f"{report['outcome']} {duration(ago)} ago, {report['cause']}{reason}")


def _place(problem: dict[str, Any]) -> str:
    place = f"{problem['file']}:{problem['line']}: " if problem["file"] else ""
    plugin = f"plugin {problem['plugin']}: " if problem["plugin"] else ""
    return escape(f"{plugin}{place}{problem['message']}")


@verb("ps", json=True)
def ps(platform: PlatformHandle, as_json: bool) -> None:
    """Show the processes of the running platform and the resources of each.

    The name is the title in ps(1) and top(1). cpu is the processor time since the process began;
    rss counts memory that workers share once for each of them.
    """
    show(platform.ask("ps"), as_json, _print_processes)


def _print_processes(processes: list[dict[str, Any]]) -> None:
    rows = [_process_row(process) for process in sorted(processes, key=_process_order)]
    print_table(("name", "pid", "state", *_RESOURCES), rows, right=("pid", *_RESOURCES))


def _process_row(process: dict[str, Any]) -> tuple[str, ...]:
    return (
        escape(process["name"]),
        str(process["pid"] or "-"),
        tint(process["state"]),
        size(process["rss"]),
        duration(process["cpu"]),
        duration(process["age"]),
        *("-" if process[name] is None else str(process[name]) for name in ("threads", "fds")),
    )


def _process_order(process: dict[str, Any]) -> tuple[int, int, str, int]:
    kind, slot = process["kind"], process["slot"]
    place = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
    index = slot.rpartition(".")[2]
    return process["generation"], place, slot, int(index) if index.isdigit() else 0


@verb("info", json=True)
def info(platform: PlatformHandle, as_json: bool) -> None:
    """Show what the platform is made of: versions, listeners and protocols, plugins and what they
    declare.

    The exit code is 3 if no platform is running; the versions are shown all the same.
    """
    try:
        running = platform.ask("info")
    except NotRunning:
        running = None
    show({"components": _components(), "running": running}, as_json, _print_info)
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


def _print_info(document: dict[str, Any]) -> None:
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
        found = running["plan"].get(name) or ["none"]
        items = [one["name"] if isinstance(one, dict) else one for one in found]
        rows += [("" if n else heading, escape(str(item))) for n, item in enumerate(items)]
    return rows


@verb("history", json=True)
@click.option("-n", "--number", default=20, show_default=True, help="How many; 50 are kept.")
def history(platform: PlatformHandle, number: int, as_json: bool) -> None:
    """Show what was done to the platform: who asked for it, its outcome, and how long each phase
    took."""
    show(platform.ask("history")[-number:], as_json, _print_history)


def _print_history(entries: list[dict[str, Any]]) -> None:
    print_table(_HISTORY, map(_history_row, entries), right=_HISTORY_NUMBERS)
    for entry in entries:
        for problem in entry["problems"]:
            print_markup(f"[red]{entry['id']}[/red]  {escape(problem)}")


def _history_row(entry: dict[str, Any]) -> tuple[str, ...]:
    with_reason = entry["what"] in ("scale", "log-level", "proc.restart")  # `scale web 4`
    return (
        str(entry["id"]),
        _when(entry["began"]),
        escape(f"{entry['what']} {entry['reason']}" if with_reason else entry["what"]),
        tint(entry["outcome"]) if entry["outcome"] else f"[cyan]{entry['phase']} …[/cyan]",
        str(entry["generation"] or "-"),
        "-" if entry["seconds"] is None else f"{entry['seconds']:.2f}",
        escape(entry["requester"]),
        _phases(entry["phases"]),
    )


def _phases(phases: list[dict[str, Any]]) -> str:
    long = [phase for phase in phases if phase["seconds"] >= _SHORTEST_PHASE]
    return ", ".join(f"{phase['name']} {phase['seconds']:.2f}" for phase in long)


def _when(seconds: float) -> str:
    form = "%H:%M:%S" if time.time() - seconds < _SECONDS_OF_DAY else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(seconds))


@verb("dump", json=True)
@click.argument("slot")
def dump(platform: PlatformHandle, slot: str, as_json: bool) -> None:
    """Show the stacks of the process in SLOT: web.0, or web.0@3 for that of one generation.

    This works even if the event loop of the process is stuck, and does not disturb the process.
    `platform ps` shows the slots.
    """
    show(platform.ask("dump", slot=slot), as_json, _print_stacks)


def _print_stacks(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['name']} (pid {answer['pid']})\n\n{answer['stacks'].rstrip()}")


@verb("mem", json=True)
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch.")
@click.option("--top", default=10, show_default=True, help="How many lines of source per worker.")
def mem(platform: PlatformHandle, seconds: float, top: int, as_json: bool) -> None:
    """Show which lines of source make workers grow.

    Every allocation of every worker is recorded for some seconds; what is still allocated at the
    end is shown, the largest first. Keep up the usual load, and watch twice: what grows both times
    is a leak. Workers run at about half their speed while they are watched.
    """
    show(platform.ask("mem", timeout=None, seconds=seconds, top=top), as_json, _print_growth)


def _print_growth(workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        before, after = map(size, worker["resident"])
        click.echo(f"{worker['worker']} (pid {worker['pid']}): {before}, now {after}")
        for row in worker["growth"]:
            line = f"{row['file']}:{row['line']}"
            click.echo(f"  {size(row['bytes']):>10}  {row['blocks']:>7} blocks  {line}")
