"""`platform top` on a real terminal, and what it prints without one."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.workbench import workbench
from tests.platform_process import COMMAND, Platform
from tests.support import PATIENCE, wait_until

_HOME = b"\x1b[H"
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_LEAVE = b"\x1b[?1049l"


class Terminal:
    """A terminal of 80 columns and 24 lines in which `platform top` runs."""

    def __init__(self, platform: Platform, *arguments: str) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.mode = termios.tcgetattr(self.slave)
        self.received = b""
        self.process = subprocess.Popen(
            [*COMMAND, "top", "--interval", "0.2", *arguments],
            cwd=platform.directory,
            env={**platform.environment, "TERM": "xterm"},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )

    def frame(self) -> list[str]:
        """Return the lines that are on the screen now, as wide as they were written."""
        while select.select([self._master], [], [], 0)[0]:
            self.received += os.read(self._master, 65536)
        # The last frame may be half written.
        frames = self.received.split(_HOME)
        whole = [f for f in frames if f.count(b"\n") == 23]
        return _STYLE.sub("", whole[-1].decode()).replace("\r", "").split("\n") if whole else []

    def wait(self, pattern: str) -> str:
        """Wait until a frame has the pattern; return the frame, whose lines all fit."""

        def shown() -> str:
            lines = self.frame()
            assert self.process.poll() is None, self.received.decode()
            assert all(len(line) <= 80 for line in lines), lines
            text = "\n".join(line.rstrip() for line in lines)
            return text if re.search(pattern, text, re.M) else ""

        try:
            return wait_until(shown, interval=0.05)
        except AssertionError as error:
            raise AssertionError("\n".join([f"{error}: {pattern}", *self.frame()])) from error

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self._master)

    def end(self) -> int:
        """Wait until it has ended and has given the terminal back; return the exit code."""
        code = self.process.wait(PATIENCE)
        self.frame()
        assert termios.tcgetattr(self.slave) == self.mode
        assert self.received.endswith(_LEAVE)
        return code


@contextlib.contextmanager
def top(platform: Platform, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(platform, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


@contextlib.contextmanager
def traffic(url: str) -> Iterator[None]:
    """Requests one after the other until the block ends."""
    stop = threading.Event()

    def run() -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            while not stop.is_set():
                client.get("/ping")
                stop.wait(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


PING = """
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

async def ping(request):
    return JSONResponse({})

plugin = Plugin(routes=[Route("/ping", ping)])
"""


@pytest.fixture
def pinged(platform: Platform) -> Platform:
    (platform.plugins / "pinged.py").write_text(PING)
    return platform


def test_a_terminal_of_80_columns_shows_a_platform_at_work(tmp_path: Path) -> None:
    ping = tmp_path / "pinged.py"
    ping.write_text(PING)
    with workbench(tmp_path, plugins=[ping]) as bench, top(bench.platform) as terminal:
        platform = bench.platform
        # A queue with work that waits for its time
        bench.deliver("Work", *[{"name": str(number)} for number in range(3)], delay=3600)
        terminal.wait(r"^default +0 +3 +0 +0 ")
        with traffic(platform.url):
            terminal.wait(r"^http +[1-9][\d.]* req/s  5xx 0/s  mean [\d.]+ ms  p50 ≤\d")
            # Each process sends its first beat a second after its start
            frame = terminal.wait(r"^web.0@1 +ready .* [\d.]+ ms +0$")
        for pattern in (
            rf"^\d\d:\d\d:\d\d  running  generation 1 .*pid {platform.status()['pid']}",
            r"^config +\S+ default  remote  \d+ keys  snapshot 1 applied [\d.]+ s ago",
            r"^rollouts  start [\d.]+ s ago: committed in [\d.]+ m?s, generation 1",
            r"^slot +state +pid +cpu% +memory +req/s +lag +crashes$",
            rf"^web.0@1 +ready +{platform.pids()['web.0@1']} +\d+ +[\d.]+ MiB .* [\d.]+ ms +0$",
            r"^q quits ",
        ):
            assert re.search(pattern, frame, re.M), f"{pattern}\n{frame}"
        # The keys: the order of a column, and the end
        terminal.press("m")
        wait_until(lambda: is_sorted(memories(terminal.frame())))
        terminal.press("q")
        assert terminal.end() == 0


def memories(frame: list[str]) -> list[float]:
    """Return the memory of each slot, in MiB, from the top."""
    rows = "\n".join(frame).partition("slot ")[2]
    return [float(size) for size in re.findall(r" ([\d.]+) MiB  ", rows)]


def is_sorted(values: list[float]) -> bool:
    return len(values) > 1 and values == sorted(values, reverse=True)


def test_it_says_what_becomes_of_the_platform_and_goes_on(pinged: Platform) -> None:
    pinged.start()
    assert pinged.process is not None
    with top(pinged) as terminal:
        terminal.wait("  running  ")
        # One that hangs
        pinged.process.send_signal(signal.SIGSTOP)
        frame = terminal.wait(r"^The platform has not answered for \d")
        assert re.search(r"^This is how it was [\d.]+ s ago:$", frame, re.M)
        pinged.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "has not answered" not in "\n".join(terminal.frame()))
        # A worker that dies, a rollout that is refused
        pinged.kill(pinged.pids()["web.0@1"])
        terminal.wait(r"^restarts +web 1 crash")
        (pinged.plugins / "broken.py").write_text("1 / 0\n")
        assert pinged.cli("reload").returncode == 1
        terminal.wait(r"^ +refused: ZeroDivisionError")
        terminal.wait(r"^rollouts  reload [\d.]+ s ago: refused")
        # One that ends, and another in its place
        pinged.stop()
        terminal.wait(r"^No platform is running on\s\S+:\sstart it with .*\nThis is how it was")
        (pinged.plugins / "broken.py").unlink()
        pinged.start()
        pid = pinged.status()["pid"]
        frame = terminal.wait(rf"^\d\d:\d\d:\d\d  running .* pid {pid}")
        assert "No platform is running" not in frame
        # A signal ends it as a key does
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 0


def test_without_a_terminal_it_prints_one_frame(pinged: Platform) -> None:
    pinged.start()
    with traffic(pinged.url):
        for arguments in ((), ("--once",)):
            done = pinged.cli("top", "--interval", "0.3", *arguments)
            assert done.returncode == 0, done.stderr
            assert re.search(r"^http +[1-9][\d.]* req/s", done.stdout, re.M), done.stdout
            assert "\x1b" not in done.stdout
            assert len(re.findall(r"^config ", done.stdout, re.M)) == 1
        document = _document(pinged)
    assert document["http"]["requests"] > 0
    assert 0 < document["http"]["mean"] <= document["http"]["p99"]
    pids = {one["name"]: one["pid"] for one in document["slots"]}
    assert pids["web.0@1"] == pinged.pids()["web.0@1"]
    assert {one["what"] for one in document["rollouts"]} == {"start"}


def _document(platform: Platform) -> Any:
    done = platform.cli("top", "--json", "--interval", "0.3")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_once_on_a_terminal_leaves_the_frame_there(pinged: Platform) -> None:
    pinged.start()
    with top(pinged, "--once") as terminal:
        assert terminal.process.wait(PATIENCE) == 0
        terminal.frame()
        text = _STYLE.sub("", terminal.received.decode())
        assert "  running  " in text
        assert all(len(line) <= 80 for line in text.split("\r\n")), text
        assert b"\x1b[?1049" not in terminal.received


def test_it_is_exit_3_without_a_platform(platform: Platform) -> None:
    done = platform.cli("top")
    assert (done.returncode, str(platform.data_dir) in done.stderr) == (3, True)
    with top(platform) as terminal:
        assert terminal.process.wait(PATIENCE) == 3
        terminal.frame()
        assert b"No platform is running on" in terminal.received
