"""`platform config-server user …`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from skep.base.errors import ConfigError, UsageError
from skep.cli.config_server.opened import operator
from skep.cli.output import print_table, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.configserver.http.documents import moment
from skep.configserver.model.rights import EVERY_APP, AccessRole
from skep.pages.accounts import Account, Accounts, check_name, check_password
from skep.pages.passwords import hash_password
from skep.pages.refusals import PageRefused

_ROLES = [role.name.lower() for role in AccessRole]
_password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Read the password from FILE, `-` for standard input. [default: ask for it]",
)


@click.group("user")
def user() -> None:
    """Make, list and disable the accounts of people who use the portal."""


@verb("create", group=user)
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    default="publish",
    show_default=True,
    help="What the person may do: read, edit items, publish too, or manage keys and accounts.",
)
@click.option("--app", "apps", multiple=True, help="For which app; repeat it. [default: every app]")
@_password_option
@click.argument("name")
def create_user(
    platform: PlatformHandle,
    name: str,
    role: str,
    apps: tuple[str, ...],
    password_file: Path | None,
) -> None:
    """Make an account for the portal, also while the server runs."""
    with _opened(platform) as accounts:
        check_name(name)
        hashed = hash_password(_password(name, password_file))
        accounts.create(name, hashed, dict.fromkeys(apps or (EVERY_APP,), role), operator().name)
    click.echo(f"The account {name!r} is made.")


@verb("ls", group=user, json=True)
def list_users(platform: PlatformHandle, as_json: bool) -> None:
    """List the accounts."""
    with _opened(platform) as accounts:
        found = [_account(one) for one in accounts.all()]
    show(found, as_json, _print)


@verb("password", group=user)
@_password_option
@click.argument("name")
def set_password(platform: PlatformHandle, name: str, password_file: Path | None) -> None:
    """Set another password; the sessions of the account end."""
    with _opened(platform) as accounts:
        account = _named(accounts, name)
        accounts.set_password(account.id, hash_password(_password(name, password_file)))
    click.echo(f"The account {account.name!r} has another password.")


@verb("disable", group=user)
@click.argument("name")
def disable_user(platform: PlatformHandle, name: str) -> None:
    """Disable an account; its sessions end."""
    _set_enabled(platform, name, enabled=False)


@verb("enable", group=user)
@click.argument("name")
def enable_user(platform: PlatformHandle, name: str) -> None:
    """Enable an account again."""
    _set_enabled(platform, name, enabled=True)


def _set_enabled(platform: PlatformHandle, name: str, *, enabled: bool) -> None:
    with _opened(platform) as accounts:
        account = _named(accounts, name)
        accounts.set_enabled(account.id, enabled=enabled)
    click.echo(f"The account {account.name!r} is {'enabled' if enabled else 'disabled'}.")


@contextmanager
def _opened(platform: PlatformHandle) -> Iterator[Accounts]:
    """Open the accounts of the platform's data directory, which must exist. A refusal becomes a
    UsageError."""
    directory = platform.run_dir.path
    if not directory.is_dir():
        raise ConfigError(
            f"There is no data directory at {directory}: start a config server there, or give "
            "its --data-dir."
        )
    with Accounts(platform.run_dir.accounts_file) as accounts:
        try:
            yield accounts
        except PageRefused as refusal:
            raise UsageError(str(refusal)) from refusal


def _named(accounts: Accounts, name: str) -> Account:
    found = accounts.named(name)
    if found is None:
        raise UsageError(f"There is no account {name!r}.")
    return found


def _password(name: str, file: Path | None) -> str:
    """Return a password that is never an argument: other users see those."""
    if file is None:
        text: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        text = _read(file).rstrip("\r\n")
    check_password(name, text)
    return text


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The password file {file} cannot be read: {error}.") from error


def _account(one: Account) -> dict[str, Any]:
    return {
        "name": one.name,
        "roles": dict(sorted(one.roles.items())),
        "created_by": one.created_by,
        "created": moment(one.created_at),
        "disabled": moment(one.disabled_at) if one.disabled_at else None,
    }


def _print(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            escape(one["name"]),
            ", ".join(f"{role} {app}" for app, role in one["roles"].items()),
            one["created"][:10],
            "no" if one["disabled"] else "yes",
        )
        for one in found
    ]
    print_table(("Account", "Roles", "Created", "Enabled"), rows)
