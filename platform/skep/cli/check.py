"""`platform check`."""

import os
import sys
from typing import Any

import click

from skep.base.errors import PlatformError, PluginError
from skep.base.rundir import RunDir
from skep.base.system import privileges
from skep.cli.options import environment_for_children, start_options
from skep.cli.output import json_option, show, waiting
from skep.cli.root import RootPhase
from skep.config.snapshots.archive import Archive
from skep.supervisor.config.configuration import Configuration, Configurations, starting_options
from skep.supervisor.rollout.dry_run import attempt
from skep.wire.plan import Plan, Problem


@click.command("check")
@start_options
@json_option
@click.option("-i", "--ignore", is_flag=True, hidden=True)
@click.option("-d", "--daemonize", is_flag=True, hidden=True)
def check(
    as_json: bool, ignore: bool, daemonize: bool, x_version: str | None, **flags: Any
) -> None:
    """Check whether the platform would start, without starting it.

    The options are those of `platform start`. As in a start, the plugins are loaded and all
    settings are checked, with the configuration that was applied last; nothing is bound, pulled or
    written, and a running platform is not disturbed. What a module of a plugin defines and no
    Plugin declares is a warning.

    Exit codes: 0 it would start, 2 usage, 3 a plugin or a setting, 4 the configuration, 8 --user,
    or others can change what root would use.
    """
    try:
        with waiting("loading the plugins"):
            base = environment_for_children(os.environ, x_version)
            _become_the_user(base, flags)
            found = attempt(_configuration(base, flags))
        code = 0 if isinstance(found, Plan) else PluginError.exit_code
    except PlatformError as error:
        found, code = (Problem("config", str(error)),), error.exit_code
    show(_document(found), as_json, lambda document: _print(found))
    sys.exit(code)


def _print(found: Plan | tuple[Problem, ...]) -> None:
    if isinstance(found, Plan):
        for warning in found.warnings:
            click.echo(f"platform: warning: {warning}", err=True)
        click.echo(_sentence(found))
        return
    for problem in found:
        click.echo(f"platform: {problem}", err=True)
        click.echo(problem.trace, err=True, nl=False)


def _become_the_user(base: dict[str, str], flags: dict[str, Any]) -> None:
    """Become the user of the platform: root must not run what others can write."""
    phase = RootPhase.begin(base, flags)
    phase.check_plugins()
    if phase.who is not None:
        privileges.become(phase.who)


def _configuration(base: dict[str, str], flags: dict[str, Any]) -> Configuration:
    options = starting_options(base, flags)
    run_dir = RunDir(options.data_dir)
    archive = Archive.of(options, run_dir.config_dir)
    configurations = Configurations(base, flags, options.env_path, run_dir.path, archive)
    return configurations.of(archive.applied())


def _sentence(found: Plan | tuple[Problem, ...]) -> str:
    if isinstance(found, Plan):
        plugins = ", ".join(found.plugins) or "no plugins"
        return f"It would start: {plugins} loaded in {found.seconds:.2f} s."
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"It would not start: {found[0]}{more}"


def _document(found: Plan | tuple[Problem, ...]) -> dict[str, Any]:
    problems = [] if isinstance(found, Plan) else found
    return {
        "ok": isinstance(found, Plan),
        "sentence": _sentence(found),
        "plugins": list(found.plugins) if isinstance(found, Plan) else [],
        "warnings": list(found.warnings) if isinstance(found, Plan) else [],
        "problems": [
            {
                "message": str(problem),
                "stage": problem.stage,
                "plugin": problem.plugin,
                "file": problem.file,
                "line": problem.line,
                "trace": problem.trace,
            }
            for problem in problems
        ],
    }
