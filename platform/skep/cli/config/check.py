"""`platform config check`."""

import sys
from dataclasses import asdict

import click

from skep.cli.config.dry_run import dry_run, exit_code
from skep.cli.config.published import SOURCE, print_held, pull
from skep.cli.output import json_option, show
from skep.cli.platform_handle import PlatformHandle, for_platform
from skep.config.snapshots.pulled import Assembly
from skep.config.snapshots.snapshot import Snapshot
from skep.supervisor.rollout.decision import unusable
from skep.wire.plan import Problem


@click.command("check")
@for_platform(*SOURCE, "plugins", "config_check", "allow_empty")
@click.option("--applied", is_flag=True, help="Check what was applied last; ask no config server.")
@json_option
def check(platform: PlatformHandle, applied: bool, as_json: bool) -> None:
    """Find out whether what is published would be accepted.

    The checks are those of a start and of a rollout, by the same code: names and sizes of the keys,
    the command of --config-check, and in a process of their own the plugins, their routes and every
    Settings class. Nothing is applied. A namespace that is missing or cannot be fetched is named;
    it would keep the release that was applied last.

    \b
    Exit codes: 0 it would be accepted; 3 the plugins do not load with it;
    4 the configuration cannot be used; 9 the config service cannot be reached.
    """
    assembly = None if applied else pull(platform)
    snapshot = assembly.snapshot() if assembly else platform.archive.applied()
    refused = [held.error for held in assembly.held if held.refused] if assembly else []
    problems = [unusable(error) for error in refused] or dry_run(platform, snapshot)
    document = {"accepted": not problems, "problems": [asdict(p) for p in problems]}
    show(document, as_json, lambda document: _print(problems, snapshot, assembly))
    sys.exit(exit_code(problems))


def _print(problems: list[Problem], snapshot: Snapshot | None, assembly: Assembly | None) -> None:
    for problem in problems:
        click.echo(f"Refused: {problem}", err=True)
        if problem.trace:
            click.echo(problem.trace, err=True)
    if problems:
        return
    releases = snapshot.release_keys() if snapshot else {}
    names = ", ".join(f"{name} {key}" for name, key in releases.items()) or "no release"
    click.echo(f"Accepted: {names}.")
    if assembly:
        print_held(assembly)
