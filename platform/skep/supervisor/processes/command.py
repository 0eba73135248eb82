"""Run a command, and keep what it prints."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

from skep.supervisor.processes.children import Children

# A command that prints without end must not fill the memory (bytes).
_KEPT = 4 * 1024 * 1024
_DEFAULT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


async def run_command(
    children: Children,
    line: list[str],
    environment: Mapping[str, str],
    output: bytearray,
    *,
    errors: bool,
) -> int:
    """Run a command and return its wait status; however that ends, no process of it is left.

    What it prints is added to `output`, with `errors` also what it writes to standard error. Raises
    OSError when it cannot be started.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    loop, pid = asyncio.get_running_loop(), 0

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(ours, 65536)
            output.extend(data)
            del output[:-_KEPT]
            if not data:
                loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        pid = _spawn(line, environment, theirs, errors=errors)
        return await children.exit_status(pid)
    finally:
        os.close(theirs)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid:
                os.killpg(pid, signal.SIGKILL)
        read()
        loop.remove_reader(ours)
        os.close(ours)


def _spawn(line: list[str], environment: Mapping[str, str], output: int, *, errors: bool) -> int:
    return os.posix_spawn(
        line[0],
        line,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            *([(os.POSIX_SPAWN_DUP2, output, 2)] if errors else []),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULT,
    )
