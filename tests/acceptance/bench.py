"""A plugin for the acceptance of tasks: what is delivered writes down that it ran.

It is copied into the plugin folder of a platform (`plugins/bench.py`) and imported there.
"""

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import (
    Backoff,
    ConfigChanged,
    Context,
    Event,
    GenerationCommitted,
    Listener,
    Plugin,
    QueueFull,
    Task,
    Worker,
    WorkerExited,
    cron,
    on,
    task,
)

DIARY = Path(os.environ["PLATFORM_DATA_DIR"]) / "diary"
AT_ONCE = Backoff(first=0.05, factor=2.0, cap=1.0)


def write(what: str, name: str, **more: Any) -> None:
    """Write a line, in one piece."""
    entry = {"what": what, "name": name, "at": time.time(), "pid": os.getpid(), **more}
    with DIARY.open("ab", buffering=0) as file:
        file.write(json.dumps(entry).encode() + b"\n")


class Work(Task):
    """Takes a while."""

    name: str
    seconds: float = 0.0
    tries = 2

    async def handle(self, ctx: Context) -> str:
        write("start", self.name, id=ctx.id, attempt=ctx.attempt, slot=ctx.slot)
        await asyncio.sleep(self.seconds)
        write("end", self.name, id=ctx.id)
        return self.name

    async def finish(self, result: str, ctx: Context) -> None:
        write("finish", result, id=ctx.id)


class Block(Task):
    """Takes as long in a thread as there is no such file."""

    name: str
    gate: str

    def handle(self, ctx: Context) -> None:
        write("start", self.name)
        while not Path(self.gate).exists():
            time.sleep(0.01)
        write("end", self.name)


class Fails(Task):
    """Fails, but not for ever."""

    name: str
    times: int
    how: str = "ValueError"
    tries = 3
    backoff = AT_ONCE

    async def handle(self, ctx: Context) -> str:
        write("start", self.name, attempt=ctx.attempt)
        ctx.log.info("attempt of %s", self.name)
        if ctx.attempt <= self.times:
            kinds: dict[str, type[BaseException]] = {
                "CancelledError": asyncio.CancelledError,
                "SystemExit": SystemExit,
                "MemoryError": MemoryError,
                "TypeError": TypeError,
            }
            raise kinds.get(self.how, ValueError)("boom")
        return self.name

    async def finish(self, result: str, ctx: Context) -> None:
        write("finish", result)
        await Work(name=f"{result} after").deliver()

    async def failed(self, error: str, ctx: Context) -> None:
        write("failed", self.name, error=error)


class Patient(Fails):
    """Waits long before it is tried again."""

    backoff = Backoff(first=3600, cap=3600, jitter=0)


class Late(Task):
    """Takes longer than it may."""

    name: str
    how: str
    timeout = 1
    tries = 2
    backoff = AT_ONCE

    async def handle(self, ctx: Context) -> None:
        write("start", self.name, attempt=ctx.attempt)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            write("cancelled", self.name)
            raise


@task(timeout=1)
def spin(ctx: Context, name: str) -> None:
    """Never stop by itself."""
    write("start", name)
    threading.Event().wait(60)


class Poison(Task):
    """Kills its worker."""

    name: str

    async def handle(self, ctx: Context) -> None:
        write("start", self.name)
        os.kill(os.getpid(), signal.SIGKILL)


class Once(Task):
    """One at a time with the same name."""

    name: str
    seconds: float = 0.3
    unique = "{name}"

    async def handle(self, ctx: Context) -> None:
        write("start", self.name)
        await asyncio.sleep(self.seconds)
        write("end", self.name)


class Kept(Task):
    """Its result can be asked for."""

    number: int
    seconds: float = 0.0
    keep_result = 60

    async def handle(self, ctx: Context) -> int:
        write("start", f"kept {self.number}")
        ctx.progress({"of": self.number})
        await asyncio.sleep(self.seconds)
        return self.number * 2


class Ordered(Task):
    """Runs in a queue of its own, by priority."""

    name: str
    queue = "ordered"

    async def handle(self, ctx: Context) -> None:
        write("start", self.name)


class Serial(Task):
    """One at a time, of all that bear its key."""

    name: str
    of: str
    concurrency_key = "serial:{of}"

    async def handle(self, ctx: Context) -> None:
        write("start", self.name)
        await asyncio.sleep(0.05)
        write("end", self.name)


class Limited(Task):
    """Waits in a queue that may not grow."""

    name: str
    queue = "limited"

    async def handle(self, ctx: Context) -> None:
        write("start", self.name)


class Soak(Task):
    """One of very many; it may fail the first time."""

    name: str
    fails: bool
    tries = 5
    lost_tries = 20
    backoff = AT_ONCE

    async def handle(self, ctx: Context) -> None:
        if self.fails and ctx.attempt == 1:
            raise ValueError("boom")
        write("end", self.name)


class Happening(Event):
    """An event that three listeners handle."""

    name: str
    stop: bool = False


class First(Listener[Happening]):
    """Handles it first, and delivers a task from the listener."""

    async def handle(self, event: Happening, ctx: Context) -> None:
        write("first", event.name)
        await Work(name=f"{event.name} from listener").deliver()


class Second(Listener[Happening]):
    """Stops the round, or fails once."""

    tries = 2
    backoff = AT_ONCE

    async def handle(self, event: Happening, ctx: Context) -> bool:
        write("second", event.name, attempt=ctx.attempt)
        if event.stop:
            return False
        if ctx.attempt == 1:
            raise ValueError("boom")
        return True


class Third(Listener[Happening]):
    """Handles it last."""

    def handle(self, event: Happening, ctx: Context) -> None:
        write("third", event.name)


@on(GenerationCommitted)
async def committed(event: GenerationCommitted, ctx: Context) -> None:
    """Write down that a generation is in service."""
    write("committed", str(event.generation), cause=event.cause)


@on(ConfigChanged)
async def changed(event: ConfigChanged, ctx: Context) -> None:
    """Write down that another configuration is in force."""
    write("changed", " ".join(event.changed), live=event.live, of=event.generation)


@on(WorkerExited)
async def exited(event: WorkerExited, ctx: Context) -> None:
    """Write down that a worker has ended."""
    write("exited", event.slot, signal=event.signal, of=event.pid)


class Relay(Task):
    """Delivers from a task, and from a thread."""

    name: str

    def handle(self, ctx: Context) -> None:
        Work(name=f"{self.name} from task").deliver_sync()


@cron(every="1h", immediate=True)
async def at_the_start(tick: Any) -> None:
    """Deliver from a cron."""
    await Work(name=f"{Worker.current().generation} from cron").deliver()


TASKS: dict[str, type[Task]] = {
    cls.__name__: cls
    for cls in (
        Work, Block, Fails, Patient, Late, spin.cls, Poison,
        Once, Kept, Ordered, Serial, Limited, Relay, Soak,
    )
}  # fmt: skip


async def deliver(request: Request) -> JSONResponse:
    """POST /bench/deliver {"task": …, "fields": […], "terms": {…}}: deliver a batch."""
    asked = await request.json()
    cls = TASKS[asked["task"]]
    made = [cls(**fields) for fields in asked["fields"]]
    begun = time.perf_counter()
    receipts = await Task.deliver_many(made, **asked.get("terms", {}))
    return JSONResponse(
        {
            "receipts": [[receipt.id, receipt.duplicate] for receipt in receipts],
            "seconds": time.perf_counter() - begun,
            "pid": os.getpid(),
        }
    )


def from_thread(request: Request) -> JSONResponse:
    """POST /bench/from-thread/NAME: deliver from a thread of a web worker."""
    receipt = Work(name=request.path_params["name"]).deliver_sync()
    return JSONResponse({"id": receipt.id})


async def flood(request: Request) -> JSONResponse:
    """POST /bench/flood {"number": …}: deliver one by one; return how often the queue was full."""
    number = (await request.json())["number"]
    limit = asyncio.Semaphore(50)

    async def one(n: int) -> bool:
        async with limit:
            try:
                await Limited(name=f"flood {n}").deliver()
            except QueueFull:
                return True
            return False

    return JSONResponse({"full": sum(await asyncio.gather(*map(one, range(number))))})


async def fire(request: Request) -> JSONResponse:
    """POST /bench/fire: fire an event."""
    receipt = await Happening(**await request.json()).fire()
    return JSONResponse({"id": receipt.id if receipt else ""})


async def result(request: Request) -> JSONResponse:
    """POST /bench/result: deliver one, wait for its result."""
    receipt = await Kept(**await request.json()).deliver()
    return JSONResponse({"result": await receipt.result(timeout=20)})


plugin = Plugin(
    routes=[
        Route("/bench/deliver", deliver, methods=["POST"]),
        Route("/bench/from-thread/{name}", from_thread, methods=["POST"]),
        Route("/bench/flood", flood, methods=["POST"]),
        Route("/bench/fire", fire, methods=["POST"]),
        Route("/bench/result", result, methods=["POST"]),
    ],
    tasks=list(TASKS.values()),
    listeners=[First, Second, Third, committed, changed, exited],
    crons=[at_the_start],
)
