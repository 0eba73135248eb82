"""The options of the verbs that start the platform or check whether it would start."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from skep.cli.options import platform_options
from skep.supervisor.observers import service_manager
from skep.supervisor.sockets import inheritance

# Set for the process that `start -d` starts in the background.
DETACHED = "SKEP_DETACHED"
_FOR_US = inheritance.KEYS | service_manager.KEYS | {DETACHED}


def start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a verb with all options of a start."""
    version = click.option(
        "-x", "--x-version", metavar="TEXT", help="What plugins find in the variable X_VERSION."
    )
    # For commands written for LaravelS; here, --config-server is enough.
    apollo = click.option("--enable-apollo", is_flag=True, hidden=True, expose_value=False)
    return platform_options()(version(apollo(command)))


def environment_for_children(
    environment: Mapping[str, str], x_version: str | None
) -> dict[str, str]:
    """Return the environment that workers start from, without the variables of the service
    manager."""
    base = {key: value for key, value in environment.items() if key not in _FOR_US}
    return base | ({"X_VERSION": x_version} if x_version else {})
