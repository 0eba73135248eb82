"""`platform start`: the supervisor, in the foreground or on its own."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from skep.base.errors import AlreadyRunning
from skep.base.logs import log, logfile
from skep.base.rundir import RunDir
from skep.base.system import privileges
from skep.base.system.title import set_title
from skep.cli.daemon import launch
from skep.cli.options import DETACHED, environment_for_children, start_options
from skep.cli.root import RootPhase
from skep.config.options.table import rows
from skep.supervisor.config.configuration import starting_options
from skep.supervisor.control.restart import RESTART, become_anew
from skep.supervisor.observers.service_manager import ServiceManager
from skep.supervisor.sockets import inheritance
from skep.supervisor.sockets.inboxes import divided
from skep.supervisor.sockets.inheritance import Inheritance, Inherited
from skep.supervisor.sockets.listeners import Listeners, claim
from skep.supervisor.start import Start
from skep.supervisor.supervisor import supervise


def _keys() -> str:
    silent = ", ".join(row.key for row in rows() if not row.flag)
    return (
        "Every option is also a key of the environment, of .env.local and of the configuration "
        "itself: --web-workers is PLATFORM_WEB_WORKERS. An option given here wins. Keys without an "
        f"option: {silent}.\n\n"
        "Exit codes: 0 stopped, 1 unexpected error, 2 usage, 3 the plugins did not come up, 4 no "
        "usable configuration, 5 a port cannot be bound, 6 already running, 7 the web workers do "
        "not hold, 8 --user or --group cannot be, or others can change what root would use, 9 the "
        "config service cannot be reached."
    )


@click.command("start", epilog=_keys())
@start_options
@click.option(
    "-d",
    "--daemonize",
    is_flag=True,
    help="Run on its own: return when it serves, or with the exit code and the reason why not.",
)
@click.option("-i", "--ignore", is_flag=True, help="Exit 0 if it is already running.")
def start(daemonize: bool, ignore: bool, x_version: str | None, **flags: Any) -> None:
    """Start the platform.

    It follows the configuration of an app on an Apollo-style config service (its own, if none is
    named), writes it into .env, and serves the plugins with resident workers. When configuration
    or, with --watch, code changes, it replaces the workers without losing a request or a task.
    """
    environment = dict(os.environ)
    handed = inheritance.take(environment)
    base = environment_for_children(environment, x_version)
    phase = RootPhase.begin(base, flags)
    options = phase.options
    run_dir = RunDir(options.data_dir)
    phase.make_data_directory(run_dir)
    phase.check_plugins()
    try:
        with privileges.acting_as(phase.who):
            held = run_dir.lock(handed.lock)
    except AlreadyRunning:
        if not ignore:
            raise
        with privileges.acting_as(phase.who):
            pid = run_dir.pid()
        click.echo(f"A platform is running on {run_dir.path} already (pid {pid}).")
        return
    if daemonize and DETACHED not in environment:
        os.close(held)
        launch(phase, run_dir)
    flags["log_file"] = str(Path(options.log_file).absolute()) if options.log_file else ""
    if options.log_file:
        logfile.onto(phase.open_log(flags["log_file"]))
    log.configure("supervisor", level=options.log_level, style=options.log_format)
    log.hide(base)
    set_title("supervisor", options.app_id)
    listeners, inboxes = divided(_shed(phase, handed.listeners, base))
    options = starting_options(base, flags)
    service = ServiceManager(environment)
    code, kept = asyncio.run(
        supervise(Start(options, flags, base, run_dir, Listeners(listeners), service, inboxes))
    )
    if code == RESTART:
        become_anew(environment, Inheritance(kept, held))
    sys.exit(code)


def _shed(
    phase: RootPhase, inherited: Mapping[str, Inherited], base: dict[str, str]
) -> dict[str, Inherited]:
    """Bind what requires root, then become the user; return the listeners that are bound."""
    listeners, who = dict(inherited), phase.who
    limits = (phase.trusted.rlimit_nofile, phase.trusted.rlimit_core)
    privileges.restrict(*limits, new_privileges=phase.trusted.new_privileges)
    if who is not None and not who.is_ours:
        for endpoint in phase.endpoints():
            if endpoint.name not in listeners:
                listeners[endpoint.name] = claim(endpoint)
        privileges.become(who)
        base |= {"USER": who.name, "LOGNAME": who.name, "HOME": who.home}
    if os.geteuid() == 0:
        logging.getLogger("skep").warning("plugins run as root: name another user with --user")
    return listeners
