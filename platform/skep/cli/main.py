"""The console script `platform`."""

import os
import sys

from skep.base.system import signals

if sys.argv[1:2] == ["start"]:
    # Before anything that takes time: a signal must not kill what is about to become a supervisor.
    signals.hold()


import click

from skep.base.errors import PlatformError
from skep.cli.verbs import Verbs

# Each verb with its module.
_VERBS = {
    "start": ("start", "Start the platform."),
    "stop": ("control", "Stop the running platform; requests in flight finish."),
    "restart": ("control", "Restart the supervisor as well; its sockets stay open."),
    "reload": ("control", "Roll out a new generation and wait for the outcome."),
    "check": ("check", "Check whether the platform would start, without starting it."),
    "status": ("inspection", "Show the state of the running platform."),
    "task": ("tasks.deliveries", "List, send, retry, cancel and purge deliveries."),
    "event": ("tasks.event", "Fire events."),
    "dead": ("tasks.deliveries", "List dead letters, run them again or delete them."),
    "queue": ("tasks.queues", "List queues, and pause and resume them."),
    "cron": ("cron", "List crons and their last runs; run, stop and start one."),
    "proc": ("proc", "List custom processes, send to them, restart them."),
    "table": ("table", "List shared tables; read, change and save their rows."),
    "ps": ("inspection", "Show its processes and the resources of each."),
    "top": ("top.top", "Watch it live: processes, requests, queues, rollouts."),
    "info": ("inspection", "Show what it is made of: versions, listeners, plugins."),
    "history": ("inspection", "Show what was done to it, with which outcome."),
    "scale": ("control", "Change the number of workers."),
    "drain": ("control", "Accept no new work but keep running."),
    "undrain": ("control", "Accept work again."),
    "log-level": ("control", "Set the log level of every process at once."),
    "dump": ("inspection", "Show the stacks of a process."),
    "config": ("config", "Show the configuration, check it, apply it and go back."),
    "env": ("config.env", "Write the effective configuration for shells, containers and services."),
    "conns": ("connections", "Show listeners and connections."),
    "ws": ("connections", "List, reach and close WebSockets."),
    "lint": ("lint", "Find mistakes in plugins without running them."),
    "mem": ("inspection", "Show which lines of source make workers grow."),
    "dashboards": ("dashboards", "Write dashboards and alert rules for Grafana and Prometheus."),
    "config-server": ("config_server", "Run the embedded config server alone."),
}
_STANDARD_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))

platform = Verbs(
    "skep.cli",
    _VERBS,
    name="platform",
    help="Resident Python workers that follow a config service and are replaced without losing a "
    "request or a task.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`platform VERB --help` explains a verb. Docs: docs/README.md in the source tree.",
)
click.version_option(package_name="skep", prog_name="platform")(platform)


def main() -> None:
    """Run the command line; an error is one line on standard error and an exit code."""
    _open_missing_streams()
    try:
        platform.main(prog_name="platform", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except PlatformError as error:
        click.echo(f"platform: {error}", err=True)
        sys.exit(error.exit_code)


def _open_missing_streams() -> None:
    """Put /dev/null where the caller has closed a standard stream.

    Otherwise the next file, database or socket gets the free number, and what a library or a child
    prints ends in it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < len(_STANDARD_STREAMS):
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, (name, mode) in enumerate(_STANDARD_STREAMS):
        if getattr(sys, f"__{name}__") is None:
            stream = open(number, mode, closefd=False)  # noqa: SIM115 - for as long as the process
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
