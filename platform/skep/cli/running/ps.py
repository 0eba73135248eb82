"""`platform ps`."""

from typing import Any

import click
from rich.markup import escape

from skep.cli.output import duration, json_option, print_table, show, size, tint
from skep.cli.platform_handle import PlatformHandle, for_platform

_PLATFORM = ("supervisor", "configserver", "store", "agent", "nursery")
_KINDS = (*_PLATFORM, "zygote", "web", "task", "cron")
_NUMBERS = ("rss", "cpu", "age", "threads", "fds")


@click.command("ps")
@for_platform()
@json_option
def ps(platform: PlatformHandle, as_json: bool) -> None:
    """Show the processes of the running platform and the resources of each.

    The name is the title in ps(1) and top(1). cpu is the processor time since the process began;
    rss counts memory that workers share once for each of them.
    """
    show(platform.ask("ps"), as_json, _print)


def _print(processes: list[dict[str, Any]]) -> None:
    rows = [_row(process) for process in sorted(processes, key=_order)]
    print_table(("name", "pid", "state", *_NUMBERS), rows, right=("pid", *_NUMBERS))


def _row(process: dict[str, Any]) -> tuple[str, ...]:
    return (
        escape(process["name"]),
        str(process["pid"]),
        tint(process["state"]),
        size(process["rss"]),
        duration(process["cpu"]),
        duration(process["age"]),
        *("-" if process[name] is None else str(process[name]) for name in ("threads", "fds")),
    )


def _order(process: dict[str, Any]) -> tuple[int, int, str, int]:
    kind, slot = process["kind"], process["slot"]
    place = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
    index = slot.rpartition(".")[2]
    return process["generation"], place, slot, int(index) if index.isdigit() else 0
