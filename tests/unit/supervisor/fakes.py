"""Stand-ins for the clock, the processes and the disk, for tests of the supervisor's shell."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, TypeVar, cast

from skep.config.options.table import Options
from skep.config.snapshots.snapshot import Release, Snapshot
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events
from skep.supervisor.processes.slot import Fact, SlotTimeouts
from skep.supervisor.processes.zygote import ZygotePair
from skep.supervisor.request import RolloutRequest
from skep.wire.channel import pair
from skep.wire.messages import Boot, Fork, Message
from skep.wire.plan import Plan

T = TypeVar("T")
# The kernel gives no process such a number.
_pids = itertools.count(10_000_000)
# Steps of the loop in which every chain of callbacks in these tests comes to its end.
_TURNS = 20


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until `pass_time`, and which has no threads."""

    now = 1000.0

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[object] = []
        self._pairs: list[socket.socket] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call it at once."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as an executor does
            done.set_exception(error)
        return done

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a channel; they are closed with the loop."""
        ends = pair()
        self._pairs += ends
        return ends

    def close(self) -> None:
        super().close()
        for end in self._pairs:
            end.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in a FakeLoop; an exception in a callback or task fails it."""

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        loop = cast(FakeLoop, runner.get_loop())
        try:
            runner.run(main())
        finally:
            LogLines.close_all()
        assert loop.failures == []


class LogLines(logging.Handler):
    """Keeps the log lines of the supervisor, until the end of `run` or `close_all`."""

    logger = logging.getLogger("skep")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.logger.addHandler(self)
        self.logger.setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def first_words(self, text: str) -> list[str]:
        """Return the first word of each line that contains a text."""
        return [line.split()[0] for line in self.lines if text in line]

    @classmethod
    def close_all(cls) -> None:
        """Take all of them out of the logger."""
        cls.logger.setLevel(logging.NOTSET)
        for handler in list(cls.logger.handlers):
            if isinstance(handler, cls):
                cls.logger.removeHandler(handler)


def fake_loop() -> FakeLoop:
    """Return the loop that `run` has started."""
    return cast(FakeLoop, asyncio.get_running_loop())


async def pass_time(seconds: float = 0.0) -> None:
    """Move the clock; return when everything that is due then has happened."""
    fake_loop().now += seconds
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def ignore(*_: object) -> None:
    """Do nothing."""


class FakeChild(Child):
    """A child without a process: it keeps what it is sent, and the test says what it does."""

    def __init__(
        self,
        slot: str,
        generation: int,
        channel: socket.socket,
        on_message: Callable[[Child, Message], None],
        on_end: Callable[[Child], None],
        pid: int = 0,
    ) -> None:
        super().__init__(slot, generation, channel, on_message, on_end, pid)
        self.sent: list[Message] = []
        self.signals: list[Signals] = []
        self.unheard: Callable[[], object] = ignore

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        self.sent.append(message)

    def order(self, slot: str) -> socket.socket | None:
        self.sent.append(Fork(slot))
        return fake_loop().pair()[0]

    def signal(self, sig: Signals) -> None:
        self.signals.append(sig)

    def listen(self) -> None:
        self.unheard()

    def terminate(self) -> None:
        self.signals.append(SIGTERM)

    def kill(self) -> None:
        self.killed = True
        self.signals.append(SIGKILL)

    def says(self, *messages: Message) -> None:
        """Have the supervisor receive these messages."""
        for message in messages:
            self._receive(message, [])

    def ends(self, status: int | None = SIGKILL) -> None:
        """Have the supervisor find it gone, by default because someone killed it."""
        self.status = status
        self._finish()

    def _watch(self) -> None:
        """There is no process."""


def child(slot: str, generation: int = 1, *, pid: int | None = None) -> FakeChild:
    """Return a child that has been born, unless its `pid` is 0."""
    number = next(_pids) if pid is None else pid
    return FakeChild(slot, generation, fake_loop().pair()[0], ignore, ignore, number)


class FakeZygote:
    """A zygote that forks at once unless it is `absent`, and loads what the test gives it."""

    def __init__(
        self,
        number: int,
        environment: Mapping[str, str],
        nursery: object = None,
        living: object = None,
        owner: Any = None,
    ) -> None:
        self.number = number
        self.environment = environment
        self.owner = owner
        self.plan: Plan | None = None
        self.children: list[Child] = []
        self.forked: list[tuple[Boot, FakeChild]] = []
        self.started = self.stopped = self.absent = False

    def start(self, boot: Callable[[str], Boot]) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True

    def loads(self, plan: Plan) -> None:
        """Answer with a plan."""
        self.plan = plan
        self.owner.planned(self, plan)

    def fork(
        self,
        boot: Boot,
        on_message: Callable[[Child, Message], None],
        on_end: Callable[[Child], None],
    ) -> FakeChild | None:
        if self.absent:
            return None
        ours, _ = fake_loop().pair()
        made = FakeChild(boot.slot, boot.generation, ours, on_message, on_end, next(_pids))
        self.forked.append((boot, made))
        return made


def configuration(
    values: Mapping[str, str] | None = None,
    options: Options | None = None,
    *,
    release: str = "R-1",
) -> Configuration:
    """Return a configuration with these remote values; equal values have an equal digest."""
    environment = dict(values or {})
    snapshot = Snapshot((Release("app", "default", "application", release, environment),), 1.0)
    layers = dict.fromkeys(environment, "remote")
    digest = str(sorted(environment.items()))
    return Configuration(snapshot, environment, options or Options(), digest, {}, layers)


def generation(
    *slots: str,
    number: int = 1,
    plan: Plan | None = None,
    settings: Configuration | None = None,
    events: Events | None = None,
) -> Generation:
    """Return a generation whose workers in these slots are ready."""
    settings = settings or configuration()
    zygote = FakeZygote(number, settings.environment)
    zygote.plan = plan or Plan()

    def launch(crew: Crew, slot: str) -> Child | None:
        return zygote.fork(made.boot(slot), ignore, lambda gone: ignore(crew.ended(gone)))

    crew = Crew(number, launch, ignore, ignore, events or Events())
    made = Generation(
        number, "run", RolloutRequest("start"), settings, cast(ZygotePair, zygote), crew
    )
    crew.fill(slots, SlotTimeouts(), released=True)
    serve(crew, *slots)
    return made


def serve(crew: Crew, *slots: str) -> None:
    """Have the workers in these slots come up."""
    for slot in slots:
        crew.feed(slot, Fact.PREPARED)
        crew.feed(slot, Fact.ACCEPTING)


def worker(crew: Crew, slot: str) -> FakeChild:
    """Return the worker in a slot."""
    found = crew.children[slot]
    assert isinstance(found, FakeChild)
    return found
