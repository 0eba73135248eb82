"""Ask the running platform, and the options all such verbs have."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from skep.cli.options import for_platform
from skep.cli.platform_handle import run_dir_of
from skep.wire import control

# The supervisor answers in milliseconds unless it has something to wait for.
PATIENCE = 10.0


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a verb that asks the running platform: which one, and --json."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
    return for_platform(as_json(command))


def ask(
    flags: Mapping[str, Any],
    command: str,
    timeout: float | None = PATIENCE,
    news: Callable[[dict[str, Any]], None] | None = None,
    **arguments: Any,
) -> Any:
    """Ask the platform that the flags choose; see `skep.wire.control.call` for the rest."""
    path = run_dir_of(flags).control_socket
    return control.call(path, command, timeout=timeout, news=news, **arguments)


def show_json(document: Any) -> None:
    """Print a document for programs."""
    click.echo(json.dumps(document, indent=2))
