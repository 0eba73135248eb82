"""`platform start`: the supervisor, in the foreground."""

import asyncio
import os
import sys
from typing import Any

import click

from skep.base import log
from skep.base.masking import Masker
from skep.base.rundir import RunDir
from skep.base.title import set_title
from skep.cli.options import platform_options
from skep.config.options import rows
from skep.supervisor.configuration import starting_options
from skep.supervisor.supervisor import Supervisor


def _keys() -> str:
    silent = ", ".join(row.key for row in rows() if not row.flag)
    return (
        "Every option is also a key of the environment, of .env.local and of the configuration "
        "itself: --web-workers is PLATFORM_WEB_WORKERS. An option given here wins. Keys without an "
        f"option: {silent}.\n\n"
        "Exit codes: 0 stopped, 1 unexpected error, 2 usage, 3 the plugins did not come up, 4 no "
        "usable configuration, 5 a port cannot be bound, 6 already running, 7 the web "
        "workers do not hold."
    )


@click.command("start", epilog=_keys())
@platform_options()
# LaravelS wants to be told; here, a config service is followed when one is named.
@click.option("--enable-apollo", is_flag=True, hidden=True, expose_value=False)
def command(**flags: Any) -> None:
    """Start the platform in the foreground.

    It follows the configuration of an app on an Apollo-style config service (its own, if none is
    named), writes it into .env, and serves the plugins with resident workers. When configuration
    or, with --watch, code changes, it replaces the workers without losing a request or a task.
    """
    base = dict(os.environ)
    options = starting_options(base, flags)
    run_dir = RunDir(options.data_dir)
    run_dir.create()
    held = run_dir.lock()
    log.configure(
        "supervisor",
        level=options.log_level,
        style=options.log_format,
        masker=Masker.of_environment(base),
    )
    set_title("supervisor")
    try:
        code = asyncio.run(Supervisor(options, flags, base, run_dir).run())
    finally:
        os.close(held)
    sys.exit(code)
