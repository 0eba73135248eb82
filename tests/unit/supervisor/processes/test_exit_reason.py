"""What is said of a child that has ended, told by real processes."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable

import pytest

from skep.base.system import stacks
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.exit_reason import ended, reason
from skep.wire.channel import pair
from skep.wire.messages import Hello, encode


def end(how: Callable[[Child], None], *command: str) -> Child:
    """Let a real process end, as a child without anything to say."""

    async def live() -> Child:
        done = asyncio.Event()
        ours, theirs = pair()
        process = subprocess.Popen(command or ("sleep", "60"), start_new_session=True)
        child = Child("web.0", 1, ours, lambda *_: None, lambda _: done.set(), process.pid)
        how(child)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = 0
        child.reaped(status)
        theirs.close()
        await asyncio.wait_for(done.wait(), 20)
        return child

    return asyncio.run(live())


def test_who_has_killed_it_is_told() -> None:
    ours = end(lambda child: child.kill())
    assert (ended(ours), ours.killed_by_another) == ("killed by SIGKILL", False)
    theirs = end(lambda child: os.kill(child.pid, signal.SIGKILL))
    assert (ended(theirs), reason(theirs)) == ("killed by SIGKILL, from outside", "signal")
    theirs.oom = True
    assert ended(theirs) == "killed by the kernel, because memory ran out (SIGKILL)"
    assert reason(theirs) == "oom"


@pytest.mark.parametrize(("code", "why"), [("3", "exitcode"), ("0", "clean")])
def test_an_exit_is_told_by_its_code(code: str, why: str) -> None:
    child = end(lambda child: None, "sh", "-c", f"exit {code}")
    assert (ended(child), reason(child)) == (f"exited with {code}", why)


def test_what_it_wrote_about_its_stacks_is_read_when_it_is_gone() -> None:
    async def live() -> str:
        done = asyncio.Event()
        ours, theirs = pair()
        child = Child("web.0", 1, ours, lambda *_: None, lambda _: done.set())
        pid = os.fork()
        if pid == 0:
            socket.send_fds(theirs, [encode(Hello(os.getpid(), fds=1))], [stacks.arm()])
            os.abort()
        theirs.close()
        _, status = os.waitpid(pid, 0)
        child.listen()
        child.reaped(status)
        await asyncio.wait_for(done.wait(), 20)
        return f"{ended(child)}: {child.stacks}"

    told = asyncio.run(live())
    assert told.startswith("killed by SIGABRT: Fatal Python error: Aborted")
    assert "test_exit_reason.py" in told
