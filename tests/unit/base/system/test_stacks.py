"""The stacks of a process that is stuck, or crashes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from skep.base.system.stacks import Stacks

STUCK = """
import socket, sys, threading
from skep.base.system import stacks
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [stacks.arm()])
def spinning():
    print("ready", flush=True)
    while True: pass
begun = threading.Event()
def waiting_for_ever():
    begun.set()
    threading.Event().wait()
threading.Thread(target=waiting_for_ever, daemon=True).start()
begun.wait()
spinning()
"""
Stuck = tuple[Stacks, "subprocess.Popen[bytes]"]


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", STUCK, str(theirs.fileno())]
    with (
        ours,
        subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]) as process,
    ):
        theirs.close()
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        stacks = Stacks(descriptor)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield stacks, process
        process.kill()
        stacks.close()


def signaller(pid: int) -> Callable[[signal.Signals], None]:
    return lambda number: os.kill(pid, number)


def test_all_threads_are_told_as_often_as_one_asks_and_it_goes_on(stuck: Stuck) -> None:
    stacks, process = stuck
    for _ in range(2):
        text = asyncio.run(stacks.take(signaller(process.pid)))
        assert text.count("in spinning") == 1
        assert text.count("in waiting_for_ever") == 1
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_one_that_crashes_tells_where_it_was_and_not_again_what_it_was_asked(
    stuck: Stuck, number: signal.Signals
) -> None:
    stacks, process = stuck
    asyncio.run(stacks.take(signaller(process.pid)))
    process.send_signal(number)
    assert process.wait() == -number
    text = stacks.read()
    assert "Fatal Python error" in text
    assert text.count("in spinning") == 1


def test_who_does_not_answer_tells_nothing(stuck: Stuck) -> None:
    stacks, _ = stuck
    assert asyncio.run(stacks.take(lambda number: None)) == ""
