"""`platform config-server token …` and `… key …`."""

import time
from typing import Any

import click
from rich.markup import escape

from skep.cli.config_server.opened import opened, operator
from skep.cli.output import print_table, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.configserver.http.documents import moment
from skep.configserver.model.access_keys import AppKey, KeyMode
from skep.configserver.model.rights import EVERY_APP, AccessRole, AccessToken

_DAY = 86_400


@click.group("token")
def token() -> None:
    """Make, list and revoke the tokens of people and scripts that write to the config server."""


@click.group("key")
def key() -> None:
    """Make, list and disable the access keys with which the clients of an app sign."""


@verb("create", group=token)
@click.option(
    "--role",
    type=click.Choice([role.name.lower() for role in AccessRole if role < AccessRole.ADMIN]),
    required=True,
    help="What it may do: read drafts, edit items, or publish too.",
)
@click.option("--app", "apps", multiple=True, help="For which app; repeat it. [default: every app]")
@click.option("--days", type=click.FloatRange(0, 36_500), help="How long it lives. [default: ever]")
@click.argument("name")
def create_token(
    platform: PlatformHandle, name: str, role: str, apps: tuple[str, ...], days: float | None
) -> None:
    """Make a token and print it: it is not shown again."""
    grants = dict.fromkeys(apps or (EVERY_APP,), AccessRole[role.upper()])
    expires = round((time.time() + days * _DAY) * 1000) if days else 0
    with opened(platform) as desk:
        click.echo(desk.access.create_token(operator(), name, grants, expires))


@verb("ls", group=token, json=True)
def list_tokens(platform: PlatformHandle, as_json: bool) -> None:
    """List the tokens, without their texts."""
    with opened(platform) as desk:
        found = [_token(one) for one in desk.view.tokens(operator())]
    show(found, as_json, _print_tokens)


@verb("revoke", group=token)
@click.argument("name")
def revoke_token(platform: PlatformHandle, name: str) -> None:
    """Revoke a token, at once."""
    with opened(platform) as desk:
        desk.access.revoke_token(operator(), name)
    click.echo(f"The token {name!r} is revoked.")


@verb("create", group=key)
@click.option("--observe", is_flag=True, help="Only log what it would refuse.")
@click.argument("app")
def create_key(platform: PlatformHandle, app: str, observe: bool) -> None:
    """Make an access key for an app, enable it, and print its secret.

    Up to five keys of an app are accepted at once, so that one replaces the other without a gap.
    """
    mode = KeyMode.OBSERVER if observe else KeyMode.FILTER
    with opened(platform) as desk:
        click.echo(desk.access.create_key(operator(), app, mode=mode, enabled=True).secret)


@verb("ls", group=key, json=True)
@click.argument("app")
def list_keys(platform: PlatformHandle, app: str, as_json: bool) -> None:
    """List the access keys of an app, without their secrets."""
    with opened(platform) as desk:
        found = [_key(one) for one in desk.view.keys(operator(), app)]
    show(found, as_json, _print_keys)


@verb("disable", group=key)
@click.argument("app")
@click.argument("key_id", metavar="ID", type=int)
def disable_key(platform: PlatformHandle, app: str, key_id: int) -> None:
    """Disable an access key, at once."""
    with opened(platform) as desk:
        desk.access.disable_key(operator(), app, key_id)
    click.echo(f"The access key {key_id} of {app!r} is disabled.")


def _token(one: AccessToken) -> dict[str, Any]:
    return {
        "name": one.name,
        "roles": {app: role.name.lower() for app, role in sorted(one.grants.items())},
        "created_by": one.created_by,
        "created": moment(one.created_at),
        "expires": moment(one.expires_at) if one.expires_at else None,
        "revoked": moment(one.revoked_at) if one.revoked_at else None,
    }


def _key(one: AppKey) -> dict[str, Any]:
    return {
        "id": one.id,
        "mode": one.mode.name.lower(),
        "enabled": one.enabled,
        "created_by": one.created_by,
        "created": moment(one.created_at),
    }


def _print_tokens(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            escape(one["name"]),
            ", ".join(f"{role} {app}" for app, role in one["roles"].items()),
            one["created"][:10],
            "revoked" if one["revoked"] else (one["expires"] or "never")[:10],
        )
        for one in found
    ]
    print_table(("Token", "Roles", "Created", "Expires"), rows)


def _print_keys(found: list[dict[str, Any]]) -> None:
    rows = [
        (str(one["id"]), one["mode"], "yes" if one["enabled"] else "no", one["created"][:10])
        for one in found
    ]
    print_table(("Key", "Mode", "Enabled", "Created"), rows)
