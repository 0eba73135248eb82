"""Two custom processes: a ticker that answers from anywhere, and an external program."""

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import Plugin, Process, ProcessContext


class Ticker(Process):
    """Counts seconds, and replies with how many there were.

    A message waits while the process is replaced, so a request fails neither in a reload nor after
    a kill. Try `platform proc request ticker.Ticker`.
    """

    def __init__(self) -> None:
        self.ticks = 0

    async def run(self, ctx: ProcessContext) -> None:
        """Tick and reply until the process has to end; `messages` ends then."""
        ticking = asyncio.create_task(self.tick())
        async for message in ctx.messages():
            await message.reply({"ticks": self.ticks, "process": f"{ctx.slot}@{ctx.generation}"})
        ticking.cancel()

    async def tick(self) -> None:
        """Count the seconds."""
        while True:
            await asyncio.sleep(1)
            self.ticks += 1


class Hours(
    Process,
    command=["sh", str(Path(__file__).with_name("hours.sh"))],
    environment={"HOURS_FORMAT": "%H:%M"},
):
    """An external program: what it prints is in the log. See `platform proc logs ticker.Hours`."""


async def ticker(request: Request) -> JSONResponse:
    """Return how many seconds the ticker has counted."""
    return JSONResponse(await Ticker.request(timeout=5))


plugin = Plugin(routes=[Route("/ticker", ticker)], processes=[Ticker, Hours])
