"""Tasks that write down what they do, for the workers of tests."""

import asyncio
import os
import signal
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import ClassVar

from skep.api.plugin import Plugin
from skep.api.tasks.context import Context
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.task import Task


class Noop(Task):
    """Does nothing."""

    n: int

    async def handle(self, ctx: Context) -> None:
        pass


class Tick(Task):
    """Writes one byte to a file, so its size is how many have ended."""

    path: str

    async def handle(self, ctx: Context) -> None:
        os.write(_opened(self.path), b".")


class Chore(Task):
    """Takes a while, and writes down its beginning and its end."""

    diary: str
    name: str
    seconds: float = 0.0

    async def handle(self, ctx: Context) -> None:
        write(self.diary, f"start {self.name} {ctx.attempt} {os.getpid()}")
        await asyncio.sleep(self.seconds)
        write(self.diary, f"end {self.name} {ctx.attempt} {os.getpid()}")


class Followed(Chore):
    """The same, and it has a `finish`."""

    async def finish(self, result: None, ctx: Context) -> None:
        write(self.diary, f"finish {self.name} {ctx.attempt} {os.getpid()}")


class Gathering(Task):
    """Ends when so many of its kind are at work."""

    diary: str
    name: str
    number: int
    here: ClassVar[set[str]] = set()

    async def handle(self, ctx: Context) -> None:
        self.here.add(self.name)
        while len(self.here) < self.number:
            await asyncio.sleep(0.01)
        write(self.diary, f"end {self.name} {ctx.attempt} {os.getpid()}")


class Nap(Task):
    """Takes a while in a thread."""

    diary: str
    seconds: float

    def handle(self, ctx: Context) -> None:
        write(self.diary, f"start nap {ctx.attempt} {os.getpid()}")
        time.sleep(self.seconds)
        write(self.diary, f"end nap {ctx.attempt} {os.getpid()}")


class Stamp(Task):
    """Writes down how many milliseconds after it was sent it began."""

    diary: str
    sent: float

    async def handle(self, ctx: Context) -> None:
        write(self.diary, f"stamp {(time.time() - self.sent) * 1000:.3f}")


class Block(Task):
    """Blocks the event loop of its worker."""

    diary: str
    seconds: float

    async def handle(self, ctx: Context) -> None:
        write(self.diary, f"start block {ctx.attempt} {os.getpid()}")
        time.sleep(self.seconds)
        write(self.diary, f"end block {ctx.attempt} {os.getpid()}")


class Forks(Task):
    """Forks, and the child comes out of the handler as well; the parent waits until it is gone."""

    diary: str
    name: str
    how: str

    async def handle(self, ctx: Context) -> None:
        write(self.diary, f"start {self.name} {ctx.attempt} {os.getpid()}")
        if child := os.fork():
            await asyncio.to_thread(os.waitpid, child, 0)
            write(self.diary, f"end {self.name} {ctx.attempt} {os.getpid()}")
        elif self.how == "await":
            await asyncio.sleep(0.01)
        elif self.how == "raise":
            raise ValueError


class ForksInThread(Forks):
    """The same in a thread."""

    def handle(self, ctx: Context) -> None:  # type: ignore[override]
        write(self.diary, f"start {self.name} {ctx.attempt} {os.getpid()}")
        if child := os.fork():
            os.waitpid(child, 0)
            write(self.diary, f"end {self.name} {ctx.attempt} {os.getpid()}")


class Poison(Task):
    """Kills the worker that runs it."""

    diary: str

    async def handle(self, ctx: Context) -> None:
        write(self.diary, f"start poison {ctx.attempt} {os.getpid()}")
        os.kill(os.getpid(), signal.SIGKILL)


class Round(Event):
    """Three listeners handle it; the second one kills its worker the first time."""

    diary: str


class Before(Listener[Round]):
    async def handle(self, event: Round, ctx: Context) -> None:
        write(event.diary, f"start before {ctx.attempt} {os.getpid()}")


class Deadly(Listener[Round]):
    async def handle(self, event: Round, ctx: Context) -> None:
        begun = Path(event.diary).read_text().count("start deadly")
        write(event.diary, f"start deadly {ctx.attempt} {os.getpid()}")
        if not begun:
            os.kill(os.getpid(), signal.SIGKILL)


class After(Listener[Round]):
    async def handle(self, event: Round, ctx: Context) -> None:
        write(event.diary, f"end after {ctx.attempt} {os.getpid()}")


PLUGIN = Plugin(
    tasks=[Noop, Tick, Chore, Followed, Gathering, Nap, Stamp, Block, Poison, Forks, ForksInThread],
    listeners=[Before, Deadly, After],
)


@cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write(diary: str, line: str) -> None:
    """Append a line; one write, so that no two processes mix theirs."""
    with open(diary, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


class Diary:
    """What the chores have written down."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        path.touch()

    def chore(self, name: str, seconds: float = 0.0) -> Chore:
        return Chore(diary=self.path, name=name, seconds=seconds)

    def entries(self, what: str) -> list[list[str]]:
        # A line that is being written may be seen in part, at the border of a page.
        whole = Path(self.path).read_text().rpartition("\n")[0]
        lines = [line.split() for line in whole.splitlines()]
        return [entry for kind, *entry in lines if kind == what]

    def starts(self) -> Counter[str]:
        """Return how often each was begun, by name."""
        return Counter(entry[0] for entry in self.entries("start"))

    def ends(self) -> Counter[str]:
        """Return how often each came to its end, by name."""
        return Counter(entry[0] for entry in self.entries("end"))
