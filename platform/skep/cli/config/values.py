"""`platform config diff`, `plan` and `explain`, and how other verbs show values and differences."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import ConfigError, UsageError
from skep.base.logs.masking import mask_value
from skep.cli.config.published import SOURCE, print_held, pull
from skep.cli.config.unpublished import foresee
from skep.cli.output import print_markup, print_table, show, tint
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.snapshots.history import Difference
from skep.wire.plan import Problem

_LONGEST = 120
_SENTENCES = {
    "nothing": "Publishing would change nothing in the running platform.",
    "live": "The platform would take it live: no worker is replaced, unless one objects.",
    "rollout": "The platform would roll out a new generation.",
    "restart": "The platform would keep it for its next start.",
    "refused": "It would be refused:",
}


@verb("diff", *SOURCE, json=True)
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
def diff(platform: PlatformHandle, old: int | None, new: int | None, as_json: bool) -> None:
    """Show what differs: lines with - are applied, lines with + are published.

    With numbers of `platform config history`, OLD is compared with what is applied, or with NEW. A
    namespace that is missing, cannot be fetched or was refused is named on standard error.

    \b
    Exit codes: 0 nothing differs; 1 something does, or a namespace could not be
    compared; 4 no usable configuration; 9 the config service cannot be reached.
    """
    before = platform.applied_values() if old is None else _values(platform, old)
    assembly = pull(platform) if old is None else None
    if assembly is not None:
        after = assembly.snapshot().values()
        print_held(assembly)
    else:
        after = platform.applied_values() if new is None else _values(platform, new)
    found = differences(before, after)
    show(to_json(found), as_json, lambda document: print_differences(found))
    sys.exit(int(bool(found or (assembly and assembly.held))))


@verb("plan", *SOURCE, "plugins", "config_check", "allow_empty", json=True)
@click.option("--unpublished", is_flag=True, help="Plan for the items not published yet.")
@click.option("--server", metavar="URL", help="Where they are edited. [default: the followed one]")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with a token that may read them. [default: that of the embedded config server]",
)
def plan(
    platform: PlatformHandle,
    unpublished: bool,
    server: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Show what applying what is published would change in the running platform, and how.

    The action is what a change needs: live and unused need no new worker, rollout replaces the
    workers by a new generation, restart waits for the next start of the platform.

    With --unpublished, show it for what a publish would release now, before anyone publishes it:
    the differences, and whether the platform would take it live, roll out or refuse it. Exit code
    1: it would refuse it.
    """
    if unpublished:
        foreseen = foresee(platform, server, token_file)
        show(foreseen, as_json, _print_foreseen)
        sys.exit(int(foreseen["verdict"] == "refused"))
    if server or token_file:
        raise UsageError("--server and --token-file go with --unpublished.")
    path = ""
    if platform.status is not None:
        assembly = pull(platform)
        path = str(platform.archive.stage(assembly.snapshot()))
        print_held(assembly)
    show(platform.ask("config.plan", timeout=None, snapshot=path), as_json, _print_plan)


def _print_foreseen(foreseen: dict[str, Any]) -> None:
    if foreseen["changes"]:
        _print_plan(foreseen["changes"])
    click.echo(_SENTENCES[foreseen["verdict"]])
    for problem in foreseen["problems"]:
        click.echo(str(Problem(**problem)))


def _print_plan(changes: list[dict[str, Any]]) -> None:
    if changes:
        print_table(("key", "old", "new", "layer", "action"), map(_plan_row, changes))
    else:
        click.echo("Nothing would change.")


def _plan_row(change: dict[str, Any]) -> tuple[str, ...]:
    old, new = value(change["old"]), value(change["new"])
    layer = change["layer"] or "[dim]gone[/dim]"
    return escape(change["key"]), old, new, layer, tint(change["action"])


@verb("explain", json=True)
@click.argument("key")
def explain(platform: PlatformHandle, key: str, as_json: bool) -> None:
    """Show every layer that sets KEY, in any case, the winner first.

    The running platform answers, because its environment is that of its start. If none runs, the
    answer is that of a start in this shell. Exit code 1: nothing sets the key.
    """
    if platform.status is not None:
        places = platform.ask("config.explain", timeout=None, key=key)
    else:
        places = [place.to_json() for place in platform.configurations.explain(key)]
    show(places, as_json, _print_places)
    if not places and not as_json:
        click.echo(f"No layer sets {key}.", err=True)
    sys.exit(0 if places else 1)


def _print_places(places: list[dict[str, Any]]) -> None:
    if places:
        rows = [_place_row(number, place) for number, place in enumerate(places)]
        print_table(("", "key", "layer", "value"), rows)


def _place_row(number: int, place: dict[str, Any]) -> tuple[str, ...]:
    mark = "[dim]-[/dim]" if number else "[green]wins[/green]"
    where = f" ({place['where']})" if place["where"] else ""
    return mark, escape(place["key"]), escape(place["layer"] + where), value(place["value"])


def value(text: str | None) -> str:
    """Return a masked value as markup: one line, no control characters, not too long."""
    if text is None:
        return "[dim]not set[/dim]"
    shown = text if text.isprintable() else json.dumps(text, ensure_ascii=False)
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}… ({len(text)} characters)"
    return escape(shown) if shown else "[dim]empty[/dim]"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Difference]:
    """Return every key that differs, in alphabetical order, with masked values."""
    changed = (key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [(key, _masked(key, old), _masked(key, new)) for key in sorted(changed)]


def print_differences(found: list[Difference]) -> None:
    """Print differences as `diff` does: the old lines with a minus, the new ones with a plus."""
    for key, old, new in found:
        for sign, text, colour in (("-", old, "red"), ("+", new, "green")):
            if text is not None:
                line = f"{sign} {escape(key)}={value(text)}"
                print_markup(f"[{colour}]{line}[/{colour}]")


def to_json(found: list[Difference]) -> list[dict[str, str | None]]:
    return [{"key": key, "old": old, "new": new} for key, old, new in found]


def _values(platform: PlatformHandle, number: int) -> dict[str, str]:
    if (found := platform.history.load(number)) is None:
        there = ", ".join(map(str, platform.history.numbers())) or "none"
        raise ConfigError(f"There is no snapshot {number} in the history; there are: {there}.")
    return found.values()


def _masked(key: str, values: Mapping[str, str]) -> str | None:
    return mask_value(key, values[key]) if key in values else None
