"""The console script `platform`: its verbs, each in a module that is imported when it is used."""

import sys
from importlib import import_module

import click

from skep.base.errors import PlatformError

_VERBS = {
    "start": "Start the platform.",
    "stop": "Stop the running platform; requests in flight finish.",
    "restart": "Start the supervisor anew as well; its sockets stay open.",
    "reload": "Roll out a new generation and wait for the outcome.",
    "check": "Say whether the platform would start, without starting it.",
    "status": "Show the state of the running platform.",
    "ps": "Show its processes and what each uses.",
    "info": "Show what it is made of: versions, listeners, plugins.",
    "history": "Show what was done to it and how it went.",
    "scale": "Have more or fewer workers.",
    "drain": "Take nothing new, but stay.",
    "undrain": "Take up the work again.",
    "log-level": "Log more or less, at once.",
    "dump": "Show the stacks of a worker.",
    "config": "Publish configuration on the embedded config server.",
    "config-server": "Run the embedded config server alone.",
}


class _Verbs(click.Group):
    """Knows the verbs by name and loads one when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = import_module(f"skep.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without loading all the modules.
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`platform VERB --help` explains each. Docs: docs/README.md in the source tree.",
)
@click.version_option(package_name="skep", prog_name="platform")
def platform() -> None:
    """Resident Python workers that follow a config service and are replaced without losing a
    request or a task."""


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
