"""`platform config diff`."""

import sys
from typing import Any

import click

from skep.base.errors import ConfigError
from skep.cli.differences import as_json as differences_as_json
from skep.cli.differences import differences, print_differences
from skep.cli.options import platform_options
from skep.cli.output import print_json
from skep.cli.site import SOURCE, Site, print_held


@click.command("diff")
@platform_options(*SOURCE)
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def command(old: int | None, new: int | None, as_json: bool, **flags: Any) -> None:
    """Show what differs: lines with - are in force, lines with + are published.

    With numbers of `platform config history`, OLD is compared with what is in force, or with NEW.
    A namespace that is missing, cannot be fetched or was refused is named on standard error.

    \b
    Exit codes: 0 nothing differs; 1 something does, or a namespace could not be
    compared; 4 no usable configuration; 9 the config service cannot be reached.
    """
    site = Site(flags)
    before = site.in_force() if old is None else _values(site, old)
    assembly = site.pull() if old is None else None
    if assembly is not None:
        after = assembly.snapshot().values()
        print_held(assembly)
    else:
        after = site.in_force() if new is None else _values(site, new)
    found = differences(before, after)
    if as_json:
        print_json(differences_as_json(found))
    else:
        print_differences(found)
    sys.exit(int(bool(found or (assembly and assembly.held))))


def _values(site: Site, number: int) -> dict[str, str]:
    if (snapshot := site.history.load(number)) is None:
        there = ", ".join(map(str, site.history.numbers())) or "none"
        raise ConfigError(f"There is no snapshot {number} in the history; there are: {there}.")
    return snapshot.values()
