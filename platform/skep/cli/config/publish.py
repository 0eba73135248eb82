"""`platform config publish`."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from skep.base.errors import UsageError
from skep.base.logs.masking import is_secret
from skep.cli.config.editing_token import own_token, token_in
from skep.cli.config.published import release_key
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.apollo.openapi import OpenApiClient
from skep.config.snapshots.snapshot import canonical
from skep.wire.control import CommandFailed

_OPERATOR = "platform-cli"
# Longer than a rollout whose workers need all of their time to start.
_PATIENCE = 120.0


@dataclass(frozen=True)
class _Target:
    """Where to publish. `followed` says whether the running platform follows it there."""

    url: str
    token: str
    app_id: str
    cluster: str
    namespace: str
    followed: bool


@verb("publish")
@click.option("--namespace", default="application", show_default=True, help="Where to publish.")
@click.option("--app", "app_id", help="The app to publish. [default: the platform's]")
@click.option("--cluster", help="The cluster to publish in. [default: the platform's]")
@click.option("--server", metavar="URL", help="On another config server, or Apollo's portal.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File with the token for --server.",
)
@click.option("--delete", "deleted", multiple=True, metavar="KEY", help="A key to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE | KEY=- | KEY@FILE]...")
def publish(
    platform: PlatformHandle,
    assignments: tuple[str, ...],
    deleted: tuple[str, ...],
    wait: bool,
    **where: Any,
) -> None:
    """Set or delete keys and publish a release: on the embedded config server of the running
    platform, or with --server on another one, where no platform needs to run.

    KEY=- reads the value from standard input and KEY@FILE from a file, without a last line break:
    every user of this machine can read a command line.

    A platform that follows the namespace applies the release by itself, and the verb waits for the
    outcome if that is the platform here. Exit code 1, with the reason: it was refused, and the
    present configuration stays applied.
    """
    if not (assignments or deleted):
        raise UsageError("Give what to publish: KEY=VALUE, KEY=-, KEY@FILE or --delete KEY.")
    pairs = _pairs(assignments)
    target = _elsewhere(platform, **where) if where["server"] else _here(platform, **where)
    namespace = target.namespace
    with OpenApiClient(target.url, target.token) as server:
        at = (target.app_id, target.cluster, namespace)
        for key, value in pairs:
            server.set_item(*at, key, value, _OPERATOR)
        for key in deleted:
            server.delete_item(*at, key, _OPERATOR)
        release = server.publish(*at, "platform config publish", _OPERATOR)
    changed = [key for key, _ in pairs] + [f"{key} (deleted)" for key in deleted]
    click.echo(f"Published {', '.join(changed)} in {namespace}: release {release.id}.")
    if wait and target.followed:
        click.echo(_outcome(platform, namespace))


def _here(
    platform: PlatformHandle,
    namespace: str,
    app_id: str | None,
    cluster: str | None,
    server: str | None,
    token_file: Path | None,
) -> _Target:
    """Return the embedded config server of the running platform. Raises UsageError, ConfigError and
    CommandFailed."""
    if token_file is not None:
        raise UsageError(
            "--token-file goes with --server; the token of the platform's own is known."
        )
    config = _config(platform)
    own = app_id in (None, config["app_id"]) and cluster in (None, config["cluster"])
    return _Target(
        config["url"],
        own_token(platform),
        app_id or config["app_id"],
        cluster or config["cluster"],
        # What it does not follow is published for others.
        _followed(namespace, config["namespaces"]) if own else namespace,
        followed=own,
    )


def _elsewhere(
    platform: PlatformHandle,
    namespace: str,
    app_id: str | None,
    cluster: str | None,
    server: str,
    token_file: Path | None,
) -> _Target:
    """Return another config server. Raises UsageError."""
    if token_file is None:
        raise UsageError("--server needs --token-file, a file with a token that may publish there.")
    options = platform.options
    app_id, cluster = app_id or options.app_id, cluster or options.cluster
    config = platform.status["config"] if platform.status else {}
    names = {name.casefold(): name for name in config.get("namespaces", ())}
    followed = names.get(canonical(namespace).casefold())
    same = (app_id, cluster) == (config.get("app_id"), config.get("cluster"))
    served = same and followed is not None and server.rstrip("/") == config["url"].rstrip("/")
    token = token_in(token_file)
    return _Target(server, token, app_id, cluster, followed or namespace, followed=served)


def _config(platform: PlatformHandle) -> dict[str, Any]:
    config: dict[str, Any] = platform.ask("status")["config"]
    if "url" not in config:
        raise CommandFailed(
            "The platform is starting and follows no configuration yet: try again.",
            "starting",
        )
    return config


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
