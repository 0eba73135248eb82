"""Check a configuration as a start would, without starting."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress

from skep.base.errors import PlatformError
from skep.cli.platform_handle import PlatformHandle
from skep.config.snapshots.snapshot import Snapshot
from skep.supervisor.config.check_command import check_environment, command_line, verdict
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.rollout.decision import unusable
from skep.supervisor.rollout.dry_run import attempt
from skep.wire.plan import Plan, Problem

# The exit codes of `platform start`, by the stage of the first problem.
_EXIT_CODES = {"config": 4, "check": 4}
_EXIT_NOT_BOOTED = 3


def exit_code(problems: list[Problem]) -> int:
    """Return the exit code of a verb that found these problems."""
    return _EXIT_CODES.get(problems[0].stage, _EXIT_NOT_BOOTED) if problems else 0


def dry_run(platform: PlatformHandle, snapshot: Snapshot | None) -> list[Problem]:
    """Return why a snapshot would be refused here: all problems of the first stage that finds
    any."""
    try:
        configuration = platform.configurations.of(snapshot)
        platform.configurations.check_shrinkage(configuration)
        return _checked(platform, configuration) or _loaded(configuration)
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


def _loaded(configuration: Configuration) -> list[Problem]:
    """Load the plugins with this configuration in a zygote that ends afterwards."""
    found = attempt(configuration)
    return [] if isinstance(found, Plan) else list(found)
