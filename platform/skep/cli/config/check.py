"""`platform config check`: what a start would check, without starting."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict

import click

from skep.base.errors import PlatformError
from skep.cli.config.published import SOURCE, print_held, pull
from skep.cli.output import show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.snapshots.pulled import Assembly
from skep.config.snapshots.snapshot import Snapshot
from skep.supervisor.config.check_command import check_environment, command_line, verdict
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.rollout.decision import unusable
from skep.supervisor.rollout.dry_run import attempt
from skep.wire.plan import Plan, Problem

# The exit codes of `platform start`, by the stage of the first problem.
_EXIT_CODES = {"config": 4, "check": 4}
_EXIT_NOT_BOOTED = 3


@verb("check", *SOURCE, "plugins", "config_check", "allow_empty", json=True)
@click.option("--applied", is_flag=True, help="Check what was applied last; ask no config server.")
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
    sys.exit(_EXIT_CODES.get(problems[0].stage, _EXIT_NOT_BOOTED) if problems else 0)


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


def dry_run(platform: PlatformHandle, snapshot: Snapshot | None) -> list[Problem]:
    """Return why a snapshot would be refused here: all problems of the first stage that finds
    any."""
    try:
        configuration = platform.configurations.of(snapshot)
        platform.configurations.check_shrinkage(configuration)
        if problems := _checked(platform, configuration):
            return problems
        # In a zygote that ends afterwards.
        found = attempt(configuration)
        return [] if isinstance(found, Plan) else list(found)
    except PlatformError as error:
        return [unusable(error)]


def _checked(platform: PlatformHandle, configuration: Configuration) -> list[Problem]:
    options = configuration.options
    if not options.config_check:
        return []
    platform.run_dir.create()
    staged = platform.configurations.stage(configuration)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command_line(options.config_check, staged),
            env=check_environment(configuration, staged),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        why = _ended(process, options.config_check_timeout)
        output.seek(0)
        return [verdict(why, output.read())] if why else []


def _ended(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait for a command and end all that it has started; return how it failed."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"took over {seconds:g} s and was ended"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"exited with {code}" if code else ""
