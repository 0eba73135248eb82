"""A pulse: a cron that beats every second, and a page that shows how often it did."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import Plugin, Table, Tick, cron


class Pulse(Table, rows=1):
    """The timer writes and the web workers read it; it goes on after a restart."""

    beats: int


@cron(every="1s")
async def beat(tick: Tick) -> None:
    """Count a beat."""
    Pulse.increment("heart", "beats")


async def pulse(request: Request) -> JSONResponse:
    """Return how often the heart has beaten."""
    row = Pulse.get("heart")
    return JSONResponse({"beats": row.beats if row else 0})


plugin = Plugin(routes=[Route("/pulse", pulse)], crons=[beat], tables=[Pulse])
