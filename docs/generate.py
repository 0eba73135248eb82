"""Write the reference pages that are made from the code: `make docs`.

`tests/test_docs.py` fails when a page is not what this writes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_origin

import click

from skep.cli.main import platform
from skep.config.options.row import OptionRow
from skep.config.options.table import rows
from skep.metrics.names import CATALOGUE, Metric

REFERENCE = Path(__file__).parent / "reference"


def settings() -> str:
    """Return the page of the platform's own settings."""
    lines = [
        "# Settings",
        "",
        "The platform's own settings. A command-line option wins over the key, the key over the",
        "default. Times are in seconds. *Takes* says what a change of the key needs: nothing more",
        "(live), a rollout, or a restart. *Set by* says who may set the key: *anyone* is the",
        "environment of `platform start`, `.env.local`, the config service and `.env`, and the",
        "first of these wins; *this machine* is all of them but the config service, from which the",
        "key is refused by name. The case of a key does not matter. See",
        "[which value wins](../howto/configuration.md#where-a-value-comes-from).",
        "*Also* are names that other Apollo clients have; they count where the key is not set, and",
        "in the environment of `platform start` only.",
        "",
        "| Key | Option | Default | Takes | Set by | Meaning |",
        "|---|---|---|---|---|---|",
        *map(_setting, rows()),
    ]
    return "\n".join([*lines, ""])


def _setting(row: OptionRow) -> str:
    option = f"`--{row.name.replace('_', '-')}`" if row.flag else "–"
    default = ", ".join(row.default) if get_origin(row.type) is tuple else str(row.default)
    words = f" One of {', '.join(row.words)}." if row.words else ""
    shown = f"`{default}`" if default else "–"
    also = f" Also {', '.join(f'`{name}`' for name in row.aliases)}." if row.aliases else ""
    who = "this machine" if row.machine_only else "anyone"
    return f"| `{row.key}` | {option} | {shown} | {row.change} | {who} | {row.text}{words}{also} |"


def metrics() -> str:
    """Return the page of metrics."""
    lines = [
        "# Metrics",
        "",
        "What `/metrics` on the admin port shows, in Prometheus' text format or OpenMetrics.",
        "Counters never go back while the platform runs, and a worker that is killed loses nothing",
        "that it had counted: the supervisor reads its counters after its end. `pool` is a",
        "kind of worker, `worker` a slot, never a process. Metrics that plugins make with",
        "prometheus_client appear beside these, merged over all workers; a generation whose",
        "plugin makes one with a name from this page, or with `platform_` in front, is refused.",
        "",
        "| Metric | Type | Labels | Meaning |",
        "|---|---|---|---|",
        *map(_metric, CATALOGUE),
    ]
    return "\n".join([*lines, ""])


def _metric(metric: Metric) -> str:
    labels = []
    for name, values in metric.labels.items():
        labels.append(f"`{name}`" + (f" ({', '.join(values)})" if values else ""))
    return f"| `{metric.exposed}` | {metric.type} | {', '.join(labels) or '–'} | {metric.help} |"


def cli() -> str:
    """Return the page of verbs: what `--help` says."""
    context = click.Context(platform, info_name="platform", max_content_width=100)
    parts = ["# Command line", "", "What `--help` says.", ""]
    for path, command in _commands(platform, ["platform"]):
        context = click.Context(command, info_name=" ".join(path), max_content_width=100)
        parts += [f"## {' '.join(path)}", "", "```", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(parts)


def _commands(command: click.Command, path: list[str]) -> list[tuple[list[str], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                found += _commands(child, [*path, name])
    return found


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "metrics.md": metrics,
    "cli.md": cli,
}


def main() -> int:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
