"""A pulse: a cron that beats every second, and a page that shows how often it did."""

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import Plugin, Tick, cron


def _count_file() -> Path:
    return Path(os.environ["PLATFORM_DATA_DIR"]) / "pulse.txt"


def _count() -> int:
    try:
        return len(_count_file().read_bytes())
    except FileNotFoundError:
        return 0


@cron(every="1s")
async def beat(tick: Tick) -> None:
    """Add one byte. A platform has one timer, so no other process writes."""
    with _count_file().open("ab") as file:
        file.write(b".")


async def pulse(request: Request) -> JSONResponse:
    """Return how often the heart has beaten."""
    return JSONResponse({"beats": _count()})


plugin = Plugin(routes=[Route("/pulse", pulse)], crons=[beat])
