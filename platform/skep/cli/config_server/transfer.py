"""`platform config-server export` and `import`."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.config.editing_token import token_in
from skep.cli.config_server.opened import opened, operator
from skep.cli.config_server.places import (
    ConfigPlace,
    Contents,
    DirectoryPlace,
    OwnPlace,
    ServerPlace,
)
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.apollo.openapi_catalogue import OpenApiCatalogue
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address

_OPTIONS = (
    click.option("--app", "apps", multiple=True, help="Only this app; repeat it. [default: all]"),
    click.option("--unpublished", is_flag=True, help="Take the items, published or not."),
    click.option("--overwrite", is_flag=True, help="Replace what is there and differs."),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
    click.option(
        "--token-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="File with a token for the server at URL.",
    ),
    click.option(
        "--server-env", default="DEV", show_default=True, help="Environment of that server."
    ),
    click.argument("place", metavar="DIR|URL"),
)


@dataclass
class TransferPlan:
    """What a transfer does: `new` and `changed` are written, `same` is there already, `left` has
    nothing published."""

    new: dict[Address, tuple[Draft, ...]] = field(default_factory=dict)
    changed: dict[Address, tuple[Draft, ...]] = field(default_factory=dict)
    same: list[Address] = field(default_factory=list)
    left: list[Address] = field(default_factory=list)


def plan_transfer(
    source: Mapping[Address, Contents], target: Mapping[Address, Contents], *, unpublished: bool
) -> TransferPlan:
    """Return what moving a source to a target takes; addresses are compared in any case. A
    namespace is the same if items and release have the values of the source."""
    plan = TransferPlan()
    there = {address.fold(): contents for address, contents in target.items()}
    for address, contents in source.items():
        lines = contents.lines if unpublished else contents.in_force()
        present = there.get(address.fold())
        if lines is None:
            plan.left.append(address)
        elif present is None:
            plan.new[address] = lines
        else:
            wanted = {line.key: line.value for line in lines if line.key}
            if present.values == present.released == wanted:
                plan.same.append(address)
            else:
                plan.changed[address] = lines
    return plan


def _options(function: Any) -> Any:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@verb("export")
@_options
def export(platform: PlatformHandle, place: str, **choice: Any) -> None:
    """Write what is in force into files, or to another config server.

    DIR gets the layout of config-samples/: APP/CLUSTER/NAMESPACE.FORMAT. URL is a config server or
    Apollo's portal, and needs --token-file. What is there and differs is named and stops the
    export, unless --overwrite is given. Gray releases, keys, tokens and the history stay.

    Exit code 1: something differs there, and nothing was written.
    """
    with opened(platform) as desk, _place(place, choice) as other:
        _transfer(OwnPlace(desk, operator()), other, **choice)


@verb("import")
@_options
def import_(platform: PlatformHandle, place: str, **choice: Any) -> None:
    """Publish what another place has in force: files, or another config server.

    DIR has the layout of config-samples/: APP/CLUSTER/NAMESPACE.FORMAT. URL is a config server or
    Apollo's portal, and needs --token-file. What is here and differs is named and stops the
    import, unless --overwrite is given.

    Exit code 1: something differs here, and nothing was written.
    """
    with opened(platform) as desk, _place(place, choice) as other:
        _transfer(other, OwnPlace(desk, operator()), **choice)


def _transfer(
    source: ConfigPlace,
    target: ConfigPlace,
    apps: tuple[str, ...],
    unpublished: bool,
    overwrite: bool,
    dry_run: bool,
    **where: Any,
) -> None:
    found = {at: one for at, one in source.read().items() if not apps or at.app_id in apps}
    present = target.read()
    plan = plan_transfer(found, present, unpublished=unpublished)
    if not found:
        raise UsageError("There is no namespace to move.")
    for address in plan.left:
        click.echo(f"left out: {address} has no release; --unpublished takes its items", err=True)
    for address, one in found.items():
        if not unpublished and one.released is not None and one.values != one.released:
            click.echo(f"{address}: its unpublished changes are left out", err=True)
    if plan.changed and not overwrite:
        for address in plan.changed:
            click.echo(f"differs: {address}", err=True)
        click.echo("Nothing was written: --overwrite replaces what differs.", err=True)
        sys.exit(1)
    by_fold = {address.fold(): (address, one) for address, one in present.items()}
    for word, lines_of in (("new", plan.new), ("overwritten", plan.changed)):
        for address, lines in lines_of.items():
            at, old = by_fold.get(address.fold(), (address, None))
            if not dry_run:
                target.write(at, lines, old)
            click.echo(f"{'would be ' if dry_run else ''}{word}: {at}")
    click.echo(f"{len(plan.new)} new, {len(plan.changed)} overwritten, {len(plan.same)} the same.")


@contextmanager
def _place(place: str, choice: Mapping[str, Any]) -> Iterator[ConfigPlace]:
    token_file: Path | None = choice["token_file"]
    if not place.startswith(("http://", "https://")):
        if token_file is not None:
            raise UsageError("--token-file goes with a URL.")
        yield DirectoryPlace(Path(place))
        return
    if token_file is None:
        raise UsageError("A URL needs --token-file, a file with a token for that server.")
    with OpenApiCatalogue(place, token_in(token_file), choice["server_env"]) as client:
        yield ServerPlace(client, operator().name)
