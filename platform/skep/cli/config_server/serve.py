"""`platform config-server`: serve."""

import asyncio
import signal
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from skep.base.errors import ListenError
from skep.base.logs import log
from skep.base.rundir import RunDir
from skep.base.sockets.listening import BACKLOG
from skep.base.system.title import set_title
from skep.cli.platform_handle import PlatformHandle, verb
from skep.cli.root import refuse_paths_of_others
from skep.cli.verbs import Verbs
from skep.config.options.table import Options
from skep.configserver.directory import opened
from skep.configserver.server import serve

_OPTIONS = (
    *("app_id", "cluster", "namespace", "config_samples", "allowed_hosts"),
    *("log_level", "log_format"),
)
# The server itself imports none of them.
_VERBS = {
    "backup": ("backup", "Copy everything into a new file, also while the server runs."),
    "export": ("transfer", "Write what is in force into files, or to another config server."),
    "import": ("transfer", "Publish what files, or another config server, have in force."),
    "key": ("access", "Make, list and disable the access keys of apps."),
    "policy": ("policy", "Set and check the rules for a publish of a namespace."),
    "request": ("publish_request", "Ask for a publish, approve or withdraw it."),
    "token": ("access", "Make, list and revoke the tokens of people and scripts."),
    "user": ("people", "Make, list and disable the accounts of the portal."),
}


@verb(
    "config-server",
    *_OPTIONS,
    cls=partial(Verbs, "skep.cli.config_server", _VERBS),
    invoke_without_command=True,
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5202, show_default=True, help="Port to listen on.")
@click.option("--open", "is_open", is_flag=True, help="Let clients read without a signature.")
@click.option(
    "--hold",
    type=click.FloatRange(1, 90),
    metavar="SECONDS",
    help="How long a poll is held, 1 to 90. [default: 50]",
)
def _config_server(
    platform: PlatformHandle, host: str, port: int, is_open: bool, hold: float | None
) -> None:
    """Run the embedded config server alone, for platforms that follow it with --config-server.

    It keeps its data in the data directory. Clients read with Apollo's protocol and sign with the
    key in the file configserver/access-key there, or with a key of their app; scripts write with
    Apollo's Open API and need the token in the file configserver/token.
    """
    if click.get_current_context().invoked_subcommand:
        return
    options = platform.starting_options
    options = replace(
        options,
        config_server_open=is_open or options.config_server_open,
        config_server_hold=hold or options.config_server_hold,
    )
    log.configure("configserver", level=options.log_level, style=options.log_format)
    set_title("configserver")
    run_dir = RunDir(options.data_dir)
    refuse_paths_of_others((run_dir.path, options.config_samples, options.env_path))
    run_dir.create()
    with _listen(host, port) as listener:
        asyncio.run(_serve(options, run_dir.configserver_dir, listener))


assert isinstance(_config_server, click.Group), "it was declared as one"
config_server: click.Group = _config_server


async def _serve(options: Options, directory: Path, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for sig in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sig, stop.set)
    async with opened(options) as app:
        host, port = listener.getsockname()[:2]
        click.echo(f"Serving {directory} on http://{host}:{port}")
        click.echo(f"The portal is at http://{host}:{port}/portal/")
        await serve(listener, app, stop=stop, names=options.allowed_hosts)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        text = (
            f"Listening on {host} port {port} failed ({error.strerror}): change --host or --port."
        )
        raise ListenError(text) from error
