"""The stacks of a process that is stuck."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from skep.base import stacks
from tests.support import wait_until

STUCK = """
import sys, threading
from skep.base import stacks
stacks.offer()
def spinning():
    while True: pass
begun = threading.Event()
def waiting_for_ever():
    begun.set()
    threading.Event().wait()
threading.Thread(target=waiting_for_ever, daemon=True).start()
begun.wait()
print("ready", flush=True)
spinning()
"""


@pytest.fixture
def stuck() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def signaller(pid: int) -> Callable[[signal.Signals], None]:
    return lambda number: os.kill(pid, number)


def test_all_threads_are_told_as_often_as_one_asks_and_it_goes_on(
    stuck: "subprocess.Popen[bytes]",
) -> None:
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == b"ready\n"
    for _ in range(2):
        text = asyncio.run(stacks.take(stuck.pid, signaller(stuck.pid)))
        assert text.count("in spinning") == 1
        assert text.count("in waiting_for_ever") == 1
    assert stuck.poll() is None


def test_who_has_not_offered_them_is_not_sent_a_signal_that_would_kill_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        wait_until(lambda: os.path.exists(f"/proc/{process.pid}/fd/0"))
        assert asyncio.run(stacks.take(process.pid, signaller(process.pid))) == ""
        process.communicate(b"\n")
        assert process.returncode == 0


def test_who_is_gone_tells_nothing() -> None:
    assert asyncio.run(stacks.take(2**22 - 1, signaller(2**22 - 1))) == ""
