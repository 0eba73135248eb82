"""`platform config check`."""

import sys
from dataclasses import asdict
from typing import Any

import click

from skep.cli.config.dry_run import exit_code, try_out
from skep.cli.options import platform_options
from skep.cli.output import print_json
from skep.cli.site import SOURCE, Site, print_held
from skep.supervisor.way import unusable


@click.command("check")
@platform_options(*SOURCE, "plugins", "config_check", "allow_empty")
@click.option(
    "--applied", is_flag=True, help="Check what was applied last; no config server is asked."
)
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def command(applied: bool, as_json: bool, **flags: Any) -> None:
    """Find out whether what is published would be accepted.

    Everything that a start or a rollout checks is checked here, by the same code: names and sizes
    of the keys, the command of --config-check, and in a process that is thrown away the plugins,
    their routes and every Settings class. Nothing is put in force. A namespace that is missing or
    cannot be fetched is named; it would keep the release that was applied last.

    \b
    Exit codes: 0 it would be accepted; 3 the plugins do not load with it;
    4 the configuration cannot be used; 9 the config service cannot be reached.
    """
    site = Site(flags)
    assembly = None if applied else site.pull()
    snapshot = assembly.snapshot() if assembly else site.archive.applied()
    refused = [held.error for held in assembly.held if held.refused] if assembly else []
    problems = [unusable(error) for error in refused] or try_out(site, snapshot)
    if as_json:
        print_json({"accepted": not problems, "problems": [asdict(p) for p in problems]})
    elif not problems:
        releases = snapshot.release_keys() if snapshot else {}
        names = ", ".join(f"{name} {key}" for name, key in releases.items()) or "no release"
        click.echo(f"Accepted: {names}.")
        if assembly:
            print_held(assembly)
    for problem in [] if as_json else problems:
        click.echo(f"Refused: {problem}", err=True)
        if problem.trace:
            click.echo(problem.trace, err=True)
    sys.exit(exit_code(problems))
