"""Start the platform on its own and wait until it serves: what `platform start -d` does."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from skep.base.rundir import RunDir
from skep.cli.screen import waiting
from skep.cli.starting import DETACHED
from skep.config.options import Options

_LOOK = 0.1
_TAIL = 20


def launch(options: Options, run_dir: RunDir) -> NoReturn:
    """Start this command again as a process of its own and end when it serves, or as it ends.

    The new process tells how it is with sd_notify(3), as it tells systemd.
    """
    log_file = Path(options.log_file or run_dir.log_file).absolute()
    log_file.parent.mkdir(parents=True, exist_ok=True)
    written = log_file.stat().st_size if log_file.exists() else 0
    with (
        tempfile.TemporaryDirectory(prefix="platform-") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news,
    ):
        address = os.path.join(directory, "notify")
        news.bind(address)
        process = _start(log_file, address)
        code, told = _until_serving(process, news)
    if code is None:
        click.echo(f"{told.rstrip('.')} (pid {process.pid}); the log is {log_file}.")
        sys.exit(0)
    click.echo(_why(log_file, written), err=True)
    sys.exit(code)


def _start(log_file: Path, address: str) -> "subprocess.Popen[bytes]":
    descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:], "--log-file", str(log_file)],
            env={**os.environ, "NOTIFY_SOCKET": address, DETACHED: "1"},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _until_serving(
    process: "subprocess.Popen[bytes]", news: socket.socket
) -> tuple[int | None, str]:
    """Wait until the process serves, which is None, or return what it has ended with; and what it
    has told of itself last."""
    status = ""
    with waiting("starting") as say:
        while (code := process.poll()) is None:
            if not select.select([news], [], [], _LOOK)[0]:
                continue
            told = dict(line.split("=", 1) for line in news.recv(65536).decode().splitlines())
            status = told.get("STATUS", status)
            if told.get("READY") == "1":
                return None, status
            say(f"starting: {status.rstrip('.')}")
    return code, status


def _why(log_file: Path, written: int) -> str:
    """What the log says of a start that failed: its errors, or else its end."""
    with log_file.open("rb") as file:
        file.seek(written)
        lines = file.read().decode("utf-8", "replace").splitlines()
    reasons = [reason for line in lines if (reason := _reason(line))]
    return "\n".join(reasons or lines[-_TAIL:]) or f"It ended at once; see {log_file}."


def _reason(line: str) -> str:
    if line.startswith("platform: "):
        return line
    try:
        entry = json.loads(line)
        return f"platform: {entry['message']}" if entry["level"] in ("error", "critical") else ""
    except (ValueError, KeyError, TypeError):
        return ""
