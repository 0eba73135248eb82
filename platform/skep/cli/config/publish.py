"""`platform config publish`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from skep.base.errors import ConfigError, UsageError
from skep.base.rundir import RunDir
from skep.cli.options import platform_options
from skep.cli.running import run_dir_of
from skep.cli.site import Site
from skep.config.openapi import OpenApi
from skep.config.snapshot import canonical
from skep.wire import control

_OPERATOR = "platform-cli"
# Longer than a rollout takes whose workers only just come up in time.
_PATIENCE = 120.0


@click.command("publish")
@platform_options("data_dir")
@click.option("--namespace", default="application", show_default=True, help="Where to publish.")
@click.option("--delete", "deleted", multiple=True, metavar="KEY", help="A key to delete.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE...]")
def command(
    assignments: tuple[str, ...],
    deleted: tuple[str, ...],
    namespace: str,
    wait: bool,
    **flags: Any,
) -> None:
    """Set or delete keys and publish a release on the embedded config server of the running
    platform.

    The platform applies it by itself, and the verb waits for the outcome. Exit code 1, with the
    reason: it was refused, and what was in force stays in force.
    """
    pairs = [_split(assignment) for assignment in assignments]
    if not (pairs or deleted):
        raise UsageError("Say what to publish: KEY=VALUE, or --delete KEY.")
    run_dir = run_dir_of(flags)
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


def _split(assignment: str) -> tuple[str, str]:
    key, equals, value = assignment.partition("=")
    if not (key and equals):
        raise UsageError(f"{assignment!r} is no KEY=VALUE.")
    return key, value


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
