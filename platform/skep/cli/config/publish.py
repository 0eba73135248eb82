"""`platform config publish`."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from skep.base.errors import ConfigError, UsageError
from skep.base.logs.masking import is_secret
from skep.cli.config.published import release_key
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.apollo.openapi import OpenApiClient
from skep.config.snapshots.snapshot import canonical
from skep.wire.control import CommandFailed

_OPERATOR = "platform-cli"
# Longer than a rollout whose workers need all of their time to start.
_PATIENCE = 120.0


@verb("publish")
@click.option("--namespace", default="application", show_default=True, help="Where to publish.")
@click.option("--delete", "deleted", multiple=True, metavar="KEY", help="A key to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE | KEY=- | KEY@FILE]...")
def publish(
    platform: PlatformHandle,
    assignments: tuple[str, ...],
    deleted: tuple[str, ...],
    namespace: str,
    wait: bool,
) -> None:
    """Set or delete keys and publish a release on the embedded config server of the running
    platform.

    KEY=- reads the value from standard input and KEY@FILE from a file, without a last line break:
    every user of this machine can read a command line.

    The platform applies the release by itself, and the verb waits for the outcome. Exit code 1,
    with the reason: it was refused, and the present configuration stays applied.
    """
    if not (assignments or deleted):
        raise UsageError("Give what to publish: KEY=VALUE, KEY=-, KEY@FILE or --delete KEY.")
    pairs = _pairs(assignments)
    config = platform.ask("status")["config"]
    if "url" not in config:
        raise CommandFailed(
            "The platform is starting and follows no configuration yet: try again.",
            "starting",
        )
    namespace = _followed(namespace, config["namespaces"])
    with OpenApiClient(config["url"], _token(platform)) as server:
        where = (config["app_id"], config["cluster"], namespace)
        for key, value in pairs:
            server.set_item(*where, key, value, _OPERATOR)
        for key in deleted:
            server.delete_item(*where, key, _OPERATOR)
        release = server.publish(*where, "platform config publish", _OPERATOR)
    changed = [key for key, _ in pairs] + [f"{key} (deleted)" for key in deleted]
    click.echo(f"Published {', '.join(changed)} in {namespace}: release {release.id}.")
    if wait:
        click.echo(_outcome(platform, namespace))


def _followed(namespace: str, followed: Sequence[str]) -> str:
    """Return the namespace as the platform spells it."""
    for name in followed:
        if canonical(namespace).casefold() == name.casefold():
            return name
    raise UsageError(
        f"The platform does not follow namespace {namespace!r}; it follows {', '.join(followed)}. "
        "See --namespace of `platform start`."
    )


def _outcome(platform: PlatformHandle, namespace: str) -> str:
    """Wait until the release that is published now is applied or refused; return a sentence."""
    # The Open API does not return release keys; the API for clients does.
    key = release_key(platform, namespace)
    answer = platform.ask("config.settled", timeout=_PATIENCE, namespace=namespace, release_key=key)
    return str(answer["sentence"])


def _pairs(assignments: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the keys with their values, read from where the assignments point."""
    split = [_split(assignment) for assignment in assignments]
    if sum(sign == "=" and value == "-" for _, sign, value in split) > 1:
        raise UsageError("Only one key can have the value of standard input: KEY=- is given twice.")
    return [(key, _value(key, sign, value)) for key, sign, value in split]


def _split(assignment: str) -> tuple[str, str, str]:
    """Return key, sign and value of `KEY=VALUE` or `KEY@FILE`: the first of the signs counts."""
    found = re.match(r"([^=@]+)([=@])(.*)", assignment, re.DOTALL)
    if found is None:
        shown = assignment.partition("=")[0]
        raise UsageError(f"{shown!r} has no key or no value; give KEY=VALUE, KEY=- or KEY@FILE.")
    return found[1], found[2], found[3]


def _value(key: str, sign: str, value: str) -> str:
    if sign == "@":
        return _read(key, Path(value).read_bytes, value)
    if value == "-":
        return _read(key, sys.stdin.buffer.read, "standard input")
    if is_secret(key):
        click.echo(
            f"platform: every user of this machine can read the value of {key} on the command "
            f"line: give {key}=- or {key}@FILE.",
            err=True,
        )
    return value


def _read(key: str, read: Callable[[], bytes], where: str) -> str:
    """Return a value without its last line break, which editors and `echo` add."""
    try:
        text = read().decode()
    except OSError as error:
        raise UsageError(
            f"The value of {key} cannot be read from {where}: {error.strerror}."
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"The value of {key} in {where} is not UTF-8 text.") from None
    return text.removesuffix("\n").removesuffix("\r")


def _token(platform: PlatformHandle) -> str:
    path = platform.run_dir.configserver_dir / "token"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no token at {path}: this platform follows a config service elsewhere; "
            "publish there."
        ) from None
    except OSError as error:
        raise ConfigError(f"The token {path} cannot be read: {error.strerror}.") from error
