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
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.schedule.crontab import parse
from skep.schedule.file import CrontabFile, local_zone
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

    Exit codes: 0 it would start, 2 usage or the crontab, 3 a plugin or a setting, 4 the
    configuration, 8 --user, or others can change what root would use.
    """
    try:
        with waiting("loading the plugins"):
            base = environment_for_children(os.environ, x_version)
            phase = RootPhase.begin(base, flags)
            phase.check_plugins()
            if phase.who is not None:
                privileges.become(phase.who)  # root must not run what others can write
            configuration = _configuration(base, flags)
            _check_crontab(configuration.options)
            found = attempt(configuration)
        code = 0 if isinstance(found, Plan) else PluginError.exit_code
    except PlatformError as error:
        found, code = (Problem("config", str(error)),), error.exit_code
    show(_document(found), as_json, _print)
    sys.exit(code)


def _configuration(base: dict[str, str], flags: dict[str, Any]) -> Configuration:
    options = starting_options(base, flags)
    run_dir = RunDir(options.data_dir)
    archive = Archive.of(options, run_dir.config_dir)
    configurations = Configurations(base, flags, options.env_path, run_dir.path, archive)
    return configurations.of(archive.applied())


def _check_crontab(options: Options) -> None:
    """Raise CrontabError if this machine has a crontab that a start would refuse."""
    if options.crontab and options.cron:
        file = CrontabFile(options.crontab)
        parse(file.read(), str(file.path), local_zone())


def _document(found: Plan | tuple[Problem, ...]) -> dict[str, Any]:
    plan, problems = (found, ()) if isinstance(found, Plan) else (None, found)
    if plan:
        names = ", ".join(plan.plugins) or "no plugins"
        sentence = f"It would start: {names} loaded in {plan.seconds:.2f} s."
    else:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        sentence = f"It would not start: {problems[0]}{more}"
    place = ("stage", "plugin", "file", "line", "trace")
    return {
        "ok": plan is not None,
        "sentence": sentence,
        "plugins": list(plan.plugins) if plan else [],
        "warnings": list(plan.warnings) if plan else [],
        "problems": [{"message": str(p), **{k: getattr(p, k) for k in place}} for p in problems],
    }


def _print(document: dict[str, Any]) -> None:
    for warning in document["warnings"]:
        click.echo(f"platform: warning: {warning}", err=True)
    for problem in document["problems"]:
        click.echo(f"platform: {problem['message']}", err=True)
        click.echo(problem["trace"], err=True, nl=False)
    if document["ok"]:
        click.echo(document["sentence"])
