"""The console script `platform`: its verbs, each in a module that is imported when it is used."""

import sys

from skep.base import signals

if sys.argv[1:2] == ["start"]:
    # Before anything that takes time: a signal must not end what is about to become a supervisor.
    signals.hold()


import click

from skep.base.errors import PlatformError
from skep.cli.verbs import Verbs

_VERBS = {
    "start": "Start the platform in the foreground.",
    "stop": "Stop the running platform; requests in flight finish.",
    "reload": "Roll out a new generation and wait for the outcome.",
    "status": "Show the state of the running platform.",
    "config": "Look at the configuration, check it, put it in force and go back.",
    "env": "Write the effective configuration for shells, containers and services.",
    "config-server": "Run the embedded config server alone.",
}


platform = Verbs(
    "skep.cli",
    _VERBS,
    name="platform",
    help="Resident Python workers that follow a config service and are replaced without losing a "
    "request or a task.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`platform VERB --help` explains each. Docs: docs/README.md in the source tree.",
)
click.version_option(package_name="skep", prog_name="platform")(platform)


def main() -> None:
    """Run the command line; errors are one line on standard error and an exit code of their own."""
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
