"""A plugin in which something is always wrong: slow and failing routes, tasks, crons, listeners.

It is copied into the plugin folder of a platform (`plugins/trouble.py`) and imported there.
"""

import asyncio
import random
from contextlib import suppress
from functools import cache

from prometheus_client import Counter, Gauge
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import (
    Backoff,
    Context,
    Event,
    Listener,
    Plugin,
    Process,
    ProcessContext,
    ProcessFailed,
    Str,
    Table,
    Task,
    Tick,
    cron,
)

SOON = Backoff(first=0.1, cap=0.2)


@cache
def mood() -> Gauge:
    """Return a metric of web workers; task workers use its name for a counter."""
    return Gauge("trouble_mood_total", "How it goes.")


@cache
def moods() -> Counter:
    """Return the same for task workers."""
    return Counter("trouble_mood", "How it goes.")


class Flaky(Task):
    """Fails at the first attempt."""

    number: int
    tries = 3
    backoff = SOON

    async def handle(self, ctx: Context) -> None:
        moods().inc()
        await asyncio.sleep(random.expovariate(20))
        if ctx.attempt == 1:
            raise ValueError("not yet")


class Doomed(Task):
    """Never succeeds."""

    number: int
    tries = 1

    async def handle(self, ctx: Context) -> None:
        raise ValueError("never")


class Mail(Task):
    """Waits in a queue with a limit."""

    number: int
    queue = "mail"

    async def handle(self, ctx: Context) -> None:
        await asyncio.sleep(0.02)


class Endless(Task):
    """Is cut off by every rollout, and run again."""

    number: int
    queue = "long"

    async def handle(self, ctx: Context) -> None:
        await asyncio.sleep(3600)


class Alarm(Event):
    """Something that a listener fails to handle."""

    number: int


class OnAlarm(Listener[Alarm]):
    """Fails now and then."""

    tries = 2
    backoff = SOON

    async def handle(self, event: Alarm, ctx: Context) -> None:
        if event.number % 3 == 0 and ctx.attempt == 1:
            raise ValueError("wrong number")


@cron(every="1s")
async def failing(tick: Tick) -> None:
    """Fail."""
    raise ValueError("not today")


@cron(every="1s")
async def long(tick: Tick) -> None:
    """Be due again before it ends."""
    await asyncio.sleep(2.5)


class Visits(Table, rows=100, index="page", ttl=30):
    """By one of fifty visitors; `test_live.py` fills the rest."""

    page: Str[64]


class Sour(Process):
    """Takes no message well."""

    async def run(self, ctx: ProcessContext) -> None:
        async for message in ctx.messages():
            await message.fail("not today")


async def slow(request: Request) -> JSONResponse:
    """Take a while."""
    mood().set(1)
    Visits.set(f"visitor {random.randrange(50)}", page=request.url.path)
    Visits.where(page=request.url.path)
    with suppress(ValueError):
        Visits.set("too long", page=65 * "x")
    with suppress(ProcessFailed):
        await Sour.request()
    await asyncio.sleep(random.expovariate(8))
    return JSONResponse({"slept": True})


async def broken(request: Request) -> JSONResponse:
    """Raise what no handler catches."""
    raise RuntimeError("broken")


async def deliver(request: Request) -> JSONResponse:
    """POST /trouble/deliver/NAME/COUNT: deliver tasks, or fire events."""
    kinds = {"flaky": Flaky, "doomed": Doomed, "mail": Mail, "endless": Endless}
    name, count = request.path_params["name"], request.path_params["count"]
    if name == "alarm":
        for number in range(count):
            await Alarm(number=number).fire()
    else:
        await Task.deliver_many([kinds[name](number=number) for number in range(count)])
    return JSONResponse({"delivered": count})


plugin = Plugin(
    routes=[
        Route("/trouble/slow", slow),
        Route("/trouble/broken", broken),
        Route("/trouble/deliver/{name}/{count:int}", deliver, methods=["POST"]),
    ],
    tasks=[Flaky, Doomed, Mail, Endless],
    events=[Alarm],
    listeners=[OnAlarm],
    crons=[failing, long],
    tables=[Visits],
    processes=[Sour],
)
