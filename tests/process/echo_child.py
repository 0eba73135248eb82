"""A process that receives or sends: `python -m tests.process.echo_child receive DESCRIPTOR`, or
`… send TAG COUNT`, or `… request TAG COUNT`, of the platform in PLATFORM_DATA_DIR."""

import asyncio
import os
import socket
import sys

import uvloop

from skep.api.processes.context import ProcessContext
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.messaging.address import InboxAddress
from tests.process.echo import Echo


async def receive(descriptor: int) -> None:
    """Be the process; what it receives is on standard output."""
    address = InboxAddress(RunDir(os.environ["PLATFORM_DATA_DIR"]).inboxes_dir, "echo.Echo")
    telemetry = Telemetry()
    inbox = Echo.open_inbox(address, socket.socket(fileno=descriptor), telemetry)
    ctx = ProcessContext("process.echo.Echo.0", 1)
    ctx.receive_from(inbox, lambda: Echo.messages_from(inbox, telemetry))
    await Echo().run(ctx)


async def send(tag: str, count: int) -> None:
    for n in range(count):
        await Echo.send(f"{tag}.{n}", timeout=60)


async def request(tag: str, count: int) -> None:
    """Send several at once, as the handlers of a web worker do."""

    async def ask(lane: int) -> None:
        for n in range(lane, count, 8):
            assert await Echo.request(f"{tag}.{n}", timeout=60) == {"echo": f"{tag}.{n}"}

    await asyncio.gather(*map(ask, range(8)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive", descriptor]:
            uvloop.run(receive(int(descriptor)))
        case ["send", tag, count]:
            asyncio.run(send(tag, int(count)))
        case ["request", tag, count]:
            uvloop.run(request(tag, int(count)))
