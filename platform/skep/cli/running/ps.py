"""`platform ps`."""

from typing import Any

import click
from rich.markup import escape

from skep.cli.asking import ask, asking, show_json
from skep.cli.output import columns, duration, screen, size, tint


@click.command("ps")
@asking
def command(as_json: bool, **flags: Any) -> None:
    """Show the processes of the running platform and what each uses.

    The name is the title that ps(1) and top(1) show. cpu is the processor time since the process
    began; rss counts memory that workers share in each of them.
    """
    rows = ask(flags, "ps")
    if as_json:
        show_json(rows)
        return
    numbers = ("pid", "rss", "cpu", "age", "threads", "fds")
    table = columns("name", "pid", "state", *numbers[1:], right=numbers)
    for row in sorted(rows, key=_order):
        table.add_row(
            escape(row["name"]),
            str(row["pid"]),
            tint(row["state"]),
            size(row["rss"]),
            duration(row["cpu"]),
            duration(row["age"]),
            *(str(row[name]) if row[name] is not None else "-" for name in ("threads", "fds")),
        )
    screen().print(table)


_PLATFORM = ("supervisor", "configserver", "store", "agent", "nursery")
_KINDS = (*_PLATFORM, "zygote", "web", "task", "cron")


def _order(row: dict[str, Any]) -> tuple[int, int, str, int]:
    place = _KINDS.index(row["kind"]) if row["kind"] in _KINDS else len(_KINDS)
    index = row["slot"].rpartition(".")[2]
    return row["generation"], place, row["slot"], int(index) if index.isdigit() else 0
