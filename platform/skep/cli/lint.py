"""`platform lint …`: look at plugins without running them."""

import sys
from pathlib import Path
from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.lint_rules import ACCEPTED, findings
from skep.cli.options import WHERE, platform_options
from skep.cli.platform_handle import own_options


@click.group("lint")
def command() -> None:
    """Look for mistakes in plugins without running them."""


@command.command("state")
@platform_options("plugins", *WHERE)
def state(**flags: Any) -> None:
    """List the state of modules and classes that all requests of a worker share.

    A line that ends with a comment `# shared: REASON` is left out. Exit codes: 0 nothing was found,
    1 something was.
    """
    folders = [Path(folder) for folder in own_options(flags).plugins]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"There is no plugin folder {folder}; say which with --plugins.")
    try:
        found = findings(folders)
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: {error.msg}.") from error
    for finding in found:
        click.echo(finding)
    if found:
        click.echo(f"{len(found)} found; `{ACCEPTED} REASON` at the end of a line accepts it.")
    sys.exit(1 if found else 0)
