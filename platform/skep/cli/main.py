"""The console script `platform`: its verbs, each in a module that is imported when it is used."""

import sys

from skep.base import signals, streams

if sys.argv[1:2] == ["start"]:
    # Before anything that takes time: a signal must not end what is about to become a supervisor.
    signals.hold()


import click

from skep.base.errors import PlatformError
from skep.cli.verbs import Verbs

_VERBS = {
    "start": "Start the platform.",
    "stop": "Stop the running platform; requests in flight finish.",
    "restart": "Start the supervisor anew as well; its sockets stay open.",
    "reload": "Roll out a new generation and wait for the outcome.",
    "check": "Say whether the platform would start, without starting it.",
    "status": "Show the state of the running platform.",
    "task": "Look at deliveries, send, retry, cancel and purge them.",
    "event": "Fire events.",
    "dead": "Look at dead letters, run them again or forget them.",
    "queue": "Look at queues, pause and resume them.",
    "ps": "Show its processes and what each uses.",
    "info": "Show what it is made of: versions, listeners, plugins.",
    "history": "Show what was done to it and how it went.",
    "scale": "Have more or fewer workers.",
    "drain": "Take nothing new, but stay.",
    "undrain": "Take up the work again.",
    "log-level": "Log more or less, at once.",
    "dump": "Show the stacks of a worker.",
    "config": "Look at the configuration, check it, put it in force and go back.",
    "env": "Write the effective configuration for shells, containers and services.",
    "conns": "Show listeners and connections.",
    "ws": "List, reach and close WebSockets.",
    "lint": "Look for mistakes in plugins without running them.",
    "mem": "Show by source line what makes workers grow.",
    "config-server": "Run the embedded config server alone.",
}

_MODULES = {
    "restart": "running.restart",
    "reload": "running.reload",
    "status": "running.status",
    "ps": "running.ps",
    "info": "running.info",
    "history": "running.history",
    "scale": "running.scale",
    "drain": "running.drain",
    "undrain": "running.undrain",
    "log-level": "running.log_level",
    "dump": "running.dump",
    "mem": "running.mem",
    "task": "tasks.task",
    "event": "tasks.event",
    "dead": "tasks.dead",
    "queue": "tasks.queues",
    "env": "config.env",
    "conns": "sockets.conns",
    "ws": "sockets.ws",
}

platform = Verbs(
    "skep.cli",
    _VERBS,
    _MODULES,
    name="platform",
    help="Resident Python workers that follow a config service and are replaced without losing a "
    "request or a task.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`platform VERB --help` explains each. Docs: docs/README.md in the source tree.",
)
click.version_option(package_name="skep", prog_name="platform")(platform)


def main() -> None:
    """Run the command line; errors are one line on standard error and an exit code of their own."""
    streams.open_missing()
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
