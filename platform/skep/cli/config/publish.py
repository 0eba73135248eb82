"""`platform config publish`."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from skep.base.errors import ConfigError, UsageError
from skep.base.masking import is_secret
from skep.base.rundir import RunDir
from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.cli.site import Site
from skep.config.openapi import OpenApi
from skep.config.secret_names import declare_kept
from skep.config.snapshot import canonical
from skep.wire import control

_OPERATOR = "platform-cli"
# Longer than a rollout takes whose workers only just come up in time.
_PATIENCE = 120.0


@click.command("publish")
@for_platform
@click.option("--namespace", default="application", show_default=True, help="Where to publish.")
@click.option("--delete", "deleted", multiple=True, metavar="KEY", help="A key to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE | KEY=- | KEY@FILE]...")
def command(
    assignments: tuple[str, ...],
    deleted: tuple[str, ...],
    namespace: str,
    wait: bool,
    **flags: Any,
) -> None:
    """Set or delete keys and publish a release on the embedded config server of the running
    platform.

    KEY=- reads the value from standard input and KEY@FILE from a file, without a last line break:
    what stands on a command line can be read by every user of this machine.

    The platform applies it by itself, and the verb waits for the outcome. Exit code 1, with the
    reason: it was refused, and what was in force stays in force.
    """
    if not (assignments or deleted):
        raise UsageError("Give what to publish: KEY=VALUE, KEY=-, KEY@FILE or --delete KEY.")
    run_dir = run_dir_of(flags)
    declare_kept(run_dir.config_dir)
    pairs = _pairs(assignments)
    config = control.call(run_dir.control_socket, "status", timeout=10.0)["config"]
    if "url" not in config:
        raise control.CommandFailed(
            "The platform has only just begun and follows no configuration yet: try again.",
            "starting",
        )
    namespace = _followed(namespace, config["namespaces"])
    with OpenApi(config["url"], _token(run_dir)) as server:
        where = (config["app_id"], config["cluster"], namespace)
        for key, value in pairs:
            server.set_item(*where, key, value, _OPERATOR)
        for key in deleted:
            server.delete_item(*where, key, _OPERATOR)
        release = server.publish(*where, "platform config publish", _OPERATOR)
    told = [key for key, _ in pairs] + [f"{key} (deleted)" for key in deleted]
    click.echo(f"Published {', '.join(told)} in {namespace}: release {release.id}.")
    if wait:
        click.echo(_outcome(run_dir, flags, namespace))


def _followed(namespace: str, followed: Sequence[str]) -> str:
    """Return the namespace as the platform spells it."""
    for name in followed:
        if canonical(namespace).casefold() == name.casefold():
            return name
    raise UsageError(
        f"The platform does not follow namespace {namespace!r}; it follows {', '.join(followed)}. "
        "See --namespace of `platform start`."
    )


def _outcome(run_dir: RunDir, flags: Mapping[str, Any], namespace: str) -> str:
    """Wait until the release that is published now is in force or refused; return a sentence."""
    # The Open API does not tell release keys; to clients the server does.
    release_key = Site(flags).release_key(namespace)
    answer = control.call(
        run_dir.control_socket,
        "config.settled",
        timeout=_PATIENCE,
        namespace=namespace,
        release_key=release_key,
    )
    return str(answer["sentence"])


def _pairs(assignments: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the keys with their values, read from where the assignments say."""
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
            f"platform: the value of {key} stands on the command line, where every user of this "
            f"machine can read it: give {key}=- or {key}@FILE.",
            err=True,
        )
    return value


def _read(key: str, read: Callable[[], bytes], where: str) -> str:
    """Return a value from elsewhere without its last line break, which editors and `echo` add."""
    try:
        text = read().decode()
    except OSError as error:
        raise UsageError(
            f"The value of {key} cannot be read from {where}: {error.strerror}."
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"The value of {key} in {where} is not UTF-8 text.") from None
    return text.removesuffix("\n").removesuffix("\r")


def _token(run_dir: RunDir) -> str:
    path = run_dir.configserver_dir / "token"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no token at {path}: this platform follows a config service elsewhere, and "
            "that is where to publish."
        ) from None
    except OSError as error:
        raise ConfigError(f"The token {path} cannot be read: {error.strerror}.") from error
