"""The wait of `platform start -d` for the process that it has started."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.base.errors import TimedOut
from skep.cli import daemon


@contextlib.contextmanager
def started(tmp_path: Path, code: str) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """Yield a process and the socket on which it reports."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        news.bind(str(tmp_path / "notify"))
        report = f"import socket, time; s = socket.socket(1, 2); s.connect({news.getsockname()!r})"
        process = subprocess.Popen([sys.executable, "-c", f"{report}; {code}"])
        try:
            yield process, news
        finally:
            process.kill()
            process.wait()


def test_a_start_that_serves_is_reported_with_its_last_status(tmp_path: Path) -> None:
    report = "s.send(b'READY=1\\nSTATUS=Serving.'); time.sleep(600)"
    with started(tmp_path, report) as (process, news):
        assert daemon._until_serving(process, news, 60) == (None, "Serving.")


def test_a_start_that_ends_is_reported_with_its_exit_status(tmp_path: Path) -> None:
    with started(tmp_path, "s.send(b'STATUS=Loading.'); raise SystemExit(3)") as (process, news):
        assert daemon._until_serving(process, news, 60)[0] == 3


def test_a_start_that_takes_too_long_is_given_up_with_its_last_status(tmp_path: Path) -> None:
    """B6: `start -d` waited without a deadline."""
    with started(tmp_path, "s.send(b'STATUS=Loading.'); time.sleep(600)") as (process, news):
        news.recv(100, socket.MSG_PEEK)
        with pytest.raises(TimedOut, match=r"did not serve within 0\.2 s .* Loading\."):
            daemon._until_serving(process, news, 0.2)


def test_a_start_that_is_given_up_is_stopped(tmp_path: Path) -> None:
    with (
        started(tmp_path, "time.sleep(600)") as (process, _),
        pytest.raises(TimedOut),
        daemon._stopped_with_us(process),
    ):
        raise TimedOut("The start took too long.")
    assert process.returncode is not None


def test_a_start_is_stopped_by_a_signal_that_came_before_the_wait(tmp_path: Path) -> None:
    """B6: a Ctrl-C while `start -d` read the options left the start behind."""
    # In a process of its own: the signals of the one that runs the tests stay as they are
    code = """if True:
        import os, signal, subprocess, sys
        from skep.base.system import signals
        from skep.cli import daemon
        signals.hold()
        # It inherits the held signals and lets go of them, as the platform does
        child = "from skep.base.system import signals; signals.let_go(); signals.signal.pause()"
        process = subprocess.Popen([sys.executable, "-c", child])
        os.kill(os.getpid(), signal.SIGINT)
        try:
            with daemon._stopped_with_us(process):
                print("not raised")
        except KeyboardInterrupt:
            print("raised", process.returncode is not None)
        process.kill()
    """
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "raised True\n", done.stdout + done.stderr
