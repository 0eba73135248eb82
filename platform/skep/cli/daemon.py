"""Start the platform on its own and wait until it serves: what `platform start -d` does."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from skep.base.errors import TimedOut
from skep.base.rundir import RunDir
from skep.base.system import privileges, signals
from skep.cli.options import DETACHED
from skep.cli.output import waiting
from skep.cli.root import RootPhase

_LOOK = 0.1
_TAIL = 20
# What a start may need beside the configuration and two loads of the plugins, in seconds.
_SLACK = 30.0
# How long a start that is stopped here may take to end its processes.
_LAST_WAIT = 15.0


def launch(root_phase: RootPhase, run_dir: RunDir) -> NoReturn:
    """Start this command again as a background process; exit when it serves or has ended.

    The new process reports its state with sd_notify(3), as it does to systemd, and does that as
    the user it runs as, who owns the socket and the log file. A start that takes longer than its
    parts may take is stopped, as is one that a signal interrupts here; the exit codes are then 5
    and 130.
    """
    options, who = root_phase.options, root_phase.who
    # The parts of a start have deadlines of their own.
    configuration = options.config_timeout + options.config_check_timeout
    longest = configuration + 2 * options.boot_timeout + _SLACK
    log_file = Path(options.log_file or run_dir.log_file).absolute()
    log = root_phase.open_log(str(log_file))
    written = os.fstat(log).st_size
    with (
        tempfile.TemporaryDirectory(prefix="platform-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news,
    ):
        if who is not None:
            os.chown(directory, who.uid, who.gid)
        address = os.path.join(directory, "notify")
        with privileges.acting_as(who):
            news.bind(address)
        process = _start(log, log_file, address)
        with _stopped_with_us(process):
            code, status = _until_serving(process, news, longest)
    if code is None:
        click.echo(f"{status.rstrip('.')} (pid {process.pid}); the log is {log_file}.")
        sys.exit(0)
    click.echo(_why(log, written) or f"It ended at once; see {log_file}.", err=True)
    sys.exit(code)


@contextmanager
def _stopped_with_us(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop the process if the block does not come to its end, by a signal or a deadline."""
    interrupting = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in interrupting}
    try:
        signals.let_go()  # what has come since the verb began is raised here
        yield
    except BaseException:
        process.terminate()
        try:
            process.wait(_LAST_WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(log: int, log_file: Path, address: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:], "--log-file", str(log_file)],
        env={**os.environ, "NOTIFY_SOCKET": address, DETACHED: "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _until_serving(
    process: "subprocess.Popen[bytes]", news: socket.socket, seconds: float
) -> tuple[int | None, str]:
    """Wait until the process serves, which is None, or return its exit status; and the last status
    that it has reported. Raises TimedOut after `seconds`."""
    status, deadline = "", time.monotonic() + seconds
    with waiting("starting") as say:
        while (code := process.poll()) is None:
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"The platform did not serve within {seconds:g} s and was stopped; its last "
                    f"status: {status or 'none'}"
                )
            if not select.select([news], [], [], _LOOK)[0]:
                continue
            fields = dict(line.split("=", 1) for line in news.recv(65536).decode().splitlines())
            status = fields.get("STATUS", status)
            if fields.get("READY") == "1":
                return None, status
            say(f"starting: {status.rstrip('.')}")
    return code, status


def _why(log: int, written: int) -> str:
    """Return the errors in the log of a start that failed, or else the end of the log."""
    with open(log, "rb") as file:
        file.seek(written)
        lines = file.read().decode("utf-8", "replace").splitlines()
    reasons = [reason for line in lines if (reason := _reason(line))]
    return "\n".join(reasons or lines[-_TAIL:])


def _reason(line: str) -> str:
    if line.startswith("platform: "):
        return line
    try:
        entry = json.loads(line)
        return f"platform: {entry['message']}" if entry["level"] in ("error", "critical") else ""
    except (ValueError, KeyError, TypeError):
        return ""
