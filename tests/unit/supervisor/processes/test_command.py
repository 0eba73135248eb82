"""Commands that the supervisor runs to their end."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from skep.supervisor.processes.children import Children
from skep.supervisor.processes.command import run_command
from skep.supervisor.processes.events import Events
from tests.support import wait_until_async
from tests.unit.supervisor.fakes import ignore


def reaping(test: Callable[[Children], Awaitable[None]]) -> None:
    """Run a test whose children are reaped as the supervisor does."""

    async def main() -> None:
        children = Children(Events(), ignore)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, children.reap)
        await test(children)

    asyncio.run(main())


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


@pytest.mark.parametrize(("errors", "printed"), [(True, b"out\nerr\n"), (False, b"out\n")])
def test_the_status_is_returned_and_what_it_prints_is_kept(errors: bool, printed: bytes) -> None:
    async def test(children: Children) -> None:
        output = bytearray()
        line = shell("echo out; echo err >&2; exit 3")
        status = await run_command(children, line, {}, output, errors=errors)
        assert (os.waitstatus_to_exitcode(status), bytes(output)) == (3, printed)

    reaping(test)


def test_a_command_that_takes_too_long_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    async def test(children: Children) -> None:
        output, note = bytearray(), tmp_path / "pid"
        line = shell(f"echo begun; sleep 100 & echo $! > {note}; wait")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await run_command(children, line, {"PATH": "/bin:/usr/bin"}, output, errors=True)
        assert bytes(output) == b"begun\n"
        stat = Path(f"/proc/{note.read_text().strip()}/stat")
        await wait_until_async(lambda: not stat.exists() or ") Z" in stat.read_text())

    reaping(test)


def test_a_command_that_cannot_be_started_is_an_error() -> None:
    async def test(children: Children) -> None:
        with pytest.raises(FileNotFoundError):
            await run_command(children, ["/no/such"], {}, bytearray(), errors=True)

    reaping(test)
