"""`platform proc logs`: the lines that custom processes keep, also without a running platform."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from skep.base.errors import UsageError
from skep.base.logs.kept import KeptLog, LogTail
from skep.cli.output import show
from skep.cli.platform_handle import PlatformHandle, verb

_LOOK = 0.2
# What stands in every line and is shown in front of its message, or not at all.
_OWN = frozenset(
    {"ts", "level", "logger", "message", "exception", "role", "slot", "generation", "pid"}
)


@verb("logs", json=True)
@click.argument("name")
@click.option("-n", "--number", default=100, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more lines, until Ctrl-C.")
def logs(platform: PlatformHandle, name: str, number: int, follow: bool, as_json: bool) -> None:
    """Show what the process NAME, or all processes of the class NAME, have logged last: what they
    print, what they log, and how they failed.

    This works without a running platform too. With --json and --follow each line is an object.
    """
    tails = [kept.tail() for kept in _found(platform, name)]
    entries = _read(tails)[-number:] if number > 0 else _read(tails)[:0]
    if not follow:
        show(entries, as_json, _print)
        return
    with suppress(KeyboardInterrupt):
        while True:
            for entry in entries:
                click.echo(json.dumps(entry) if as_json else _text(entry))
            time.sleep(_LOOK)
            entries = _read(tails)


def _found(platform: PlatformHandle, name: str) -> list[KeptLog]:
    """Return the logs of a class or a slot. Raises UsageError if there is none."""
    wanted = name.removeprefix("process.")
    kept = KeptLog.all(platform.run_dir.logs_dir)
    names = {one.slot: one.slot.removeprefix("process.") for one in kept}
    found = [one for one in kept if wanted in (names[one.slot], names[one.slot].rpartition(".")[0])]
    if found:
        return found
    known = sorted({slot.rpartition(".")[0] for slot in names.values()})
    there = f"there are logs of {', '.join(known)}" if known else "no custom process has logged yet"
    raise UsageError(f"There is no log of a custom process {name}; {there}.")


def _read(tails: Sequence[LogTail]) -> list[dict[str, Any]]:
    """Return the new lines of all, in the order of their times."""
    entries: list[dict[str, Any]] = []
    for tail in tails:
        for line in tail.read():
            with suppress(ValueError):  # a line that a full disk has cut
                entries.append(json.loads(line))
    return sorted(entries, key=lambda entry: str(entry.get("ts")))


def _print(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        click.echo(_text(entry))


def _text(entry: dict[str, Any]) -> str:
    clock = datetime.fromisoformat(entry["ts"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = "" if entry["level"] == "info" else f"{entry['level']}: "
    more = "".join(f"  {key}={value}" for key, value in entry.items() if key not in _OWN)
    text = f"{level}{entry['message']}{more}"
    if trace := entry.get("exception"):
        text = f"{text}\n{trace}"
    name = f"{entry['slot']}@{entry['generation']}"
    return f"{clock} {name} " + text.replace("\n", "\n    ")
