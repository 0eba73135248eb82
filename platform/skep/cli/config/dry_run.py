"""Try a configuration out: everything that starting it would check, minus starting it."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress

from skep.base.errors import PlatformError
from skep.cli.site import Site
from skep.config.snapshot import Snapshot
from skep.supervisor.config_check import command_line, surroundings, verdict
from skep.supervisor.configuration import Configuration
from skep.supervisor.trial import attempt
from skep.supervisor.way import unusable
from skep.wire.plan import Plan, Problem

# What `platform start` would end with, by the stage of the first problem.
_EXIT_CODES = {"config": 4, "check": 4}
_EXIT_NOT_BOOTED = 3


def exit_code(problems: list[Problem]) -> int:
    """Return the exit code of a verb that has found these problems."""
    return _EXIT_CODES.get(problems[0].stage, _EXIT_NOT_BOOTED) if problems else 0


def try_out(site: Site, snapshot: Snapshot | None) -> list[Problem]:
    """Return every reason why a snapshot would be refused here; of the stages, the first that
    finds any ends it."""
    try:
        configuration = site.configurations.of(snapshot)
        site.configurations.check_shrinkage(configuration)
        return _checked(site, configuration) or _loaded(configuration)
    except PlatformError as error:
        return [unusable(error)]


def _checked(site: Site, configuration: Configuration) -> list[Problem]:
    """Run the command of --config-check, if there is one."""
    options = configuration.options
    if not options.config_check:
        return []
    site.run_dir.create()
    staged = site.configurations.stage(configuration)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command_line(options.config_check, staged),
            env=surroundings(configuration, staged),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        why = _ended(process, options.config_check_timeout)
        output.seek(0)
        return [verdict(why, output.read())] if why else []


def _ended(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait for a command; return how it failed. What it has started is ended with it."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"took over {seconds:g} s and was ended"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"exited with {code}" if code else ""


def _loaded(configuration: Configuration) -> list[Problem]:
    """Let a zygote load the plugins with this configuration, and end it."""
    found = attempt(configuration)
    return [] if isinstance(found, Plan) else list(found)
