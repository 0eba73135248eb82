"""`platform lint …`: find mistakes in plugins without running them."""

import sys
from pathlib import Path

import click

from skep.base.errors import UsageError
from skep.cli.lint_rules import ACCEPTED, findings
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.group("lint")
def lint() -> None:
    """Find mistakes in plugins without running them."""


@lint.command("state")
@for_platform("plugins")
def state(platform: PlatformHandle) -> None:
    """List the state of modules and classes that all requests of a worker share.

    A line that ends with a comment `# shared: REASON` is left out. Exit codes: 0 nothing was found,
    1 something was.
    """
    folders = [Path(folder) for folder in platform.starting_options.plugins]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"There is no plugin folder {folder}; give another with --plugins.")
    try:
        found = findings(folders)
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: {error.msg}.") from error
    for finding in found:
        click.echo(finding)
    if found:
        click.echo(f"{len(found)} found; `{ACCEPTED} REASON` at the end of a line accepts it.")
    sys.exit(1 if found else 0)
