"""`platform config-server policy …`."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.config_server.opened import opened, operator
from skep.cli.output import show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.configserver.model.names import DEFAULT_CLUSTER, Address, bare
from skep.configserver.model.publish_policy import PublishPolicy

_CLUSTER = click.option("--cluster", "where", default=DEFAULT_CLUSTER, show_default=True)


@click.group("policy")
def policy() -> None:
    """Set and check the rules that a publish of a namespace must follow."""


@verb("show", group=policy, json=True)
@_CLUSTER
@click.argument("app")
@click.argument("namespace")
def show_policy(
    platform: PlatformHandle, app: str, namespace: str, where: str, as_json: bool
) -> None:
    """Show the rules of a namespace."""
    with opened(platform) as desk:
        found = desk.policies.policy(operator(), Address(app, where, bare(namespace)))
    show(asdict(found), as_json, _print_policy)


@verb("set", group=policy)
@_CLUSTER
@click.option("--schema", metavar="FILE", type=click.Path(path_type=Path), help="A JSON Schema.")
@click.option("--no-schema", is_flag=True, help="Remove the schema.")
@click.option("--require", multiple=True, metavar="KEY", help="A key that must be there.")
@click.option("--no-require", multiple=True, metavar="KEY", help="A key that need not be there.")
@click.option("--approval/--no-approval", default=None, help="Whether it takes a second person.")
@click.argument("app")
@click.argument("namespace")
def set_policy(
    platform: PlatformHandle,
    app: str,
    namespace: str,
    where: str,
    schema: Path | None,
    no_schema: bool,
    require: tuple[str, ...],
    no_require: tuple[str, ...],
    approval: bool | None,
) -> None:
    """Change the rules of a namespace; what is not named stays. They count from the next publish.

    FILE is a JSON Schema 2020-12. For properties it sees one object with all keys; a value is text,
    or the JSON that it spells where the schema declares another type for its key.
    """
    if schema and no_schema:
        raise UsageError("Give --schema or --no-schema, not both.")
    at = Address(app, where, bare(namespace))
    with opened(platform) as desk:
        missing = at.namespace not in {
            one.address.namespace for one in desk.view.namespaces(operator(), app, where)
        }
        rules = PublishPolicy() if missing else desk.policies.policy(operator(), at)
        if schema or no_schema:
            rules = replace(rules, schema=_read(schema) if schema else "")
        kept = dict.fromkeys((*rules.required, *require))
        rules = replace(rules, required=tuple(key for key in kept if key not in no_require))
        if approval is not None:
            rules = replace(rules, approval=approval)
        desk.policies.set(operator(), at, rules)
        found = () if missing else desk.policies.faults(operator(), at)
    _print_policy(asdict(rules))
    for fault in found:
        click.echo(f"A publish now would be refused: {fault}.", err=True)


@verb("check", group=policy, json=True)
@_CLUSTER
@click.argument("app")
@click.argument("namespace")
def check_policy(
    platform: PlatformHandle, app: str, namespace: str, where: str, as_json: bool
) -> None:
    """Check what a publish would release now against the rules. Exit code 1: it breaks one."""
    with opened(platform) as desk:
        found = desk.policies.faults(operator(), Address(app, where, bare(namespace)))
    show([asdict(fault) for fault in found], as_json, lambda document: None)
    if not as_json:
        for fault in found:
            click.echo(f"{fault}.")
        if not found:
            click.echo("A publish now would follow every rule.")
    sys.exit(int(bool(found)))


def _print_policy(rules: dict[str, Any]) -> None:
    click.echo(f"Schema: {'yes' if rules['schema'] else 'none'}.")
    click.echo(f"Required keys: {', '.join(rules['required']) or 'none'}.")
    click.echo(f"A second person must approve: {'yes' if rules['approval'] else 'no'}.")
    if rules["schema"]:
        click.echo(rules["schema"])


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"The schema {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The schema {file} is not UTF-8 text.") from None
