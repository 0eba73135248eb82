"""The zygote of one generation, and the one that stands by to take its place.

A zygote is how a generation is born: an interpreter that has never seen a plugin loads all of them
once, answers with a plan or with problems, and forks the workers on order. It comes out of the
nursery, or where there is none out of an interpreter of its own. As soon as its plan is good it
forks a copy of itself, the *understudy*: the same code in the same state, asleep. When the zygote
dies the understudy is the zygote at once, whatever the disk holds by then.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from skep.base.backoff import Backoff
from skep.base.system.exit_status import describe
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.nursery import Nursery
from skep.supervisor.processes.spawn import spawn
from skep.wire.messages import Become, Boot, Hello, LoadFailed, Message, Planned
from skep.wire.plan import Plan, Problem

_PAUSE = 0.1
# How long the nursery may take to fork one: it may just have been started, on a busy machine.
_BIRTH = 10.0
# When both are gone, a fresh one is started almost at once; if that ends too, later and later.
_AGAIN = Backoff(first=0.05, factor=4.0, cap=30.0, jitter=0.2)
# Between attempts while the machine has no process or descriptor to spare: workers wait for it.
_SHORTAGE = 0.2


class ZygoteOwner(Protocol):
    """Who is notified by a pair of zygotes."""

    def planned(self, zygote: "ZygotePair", plan: Plan) -> None:
        """The plugins are loaded."""

    def denied(self, zygote: "ZygotePair", problems: tuple[Problem, ...]) -> None:
        """The plugins cannot be loaded."""

    def bereft(self, zygote: "ZygotePair") -> None:
        """Both are gone and the disk holds other code: no worker can be forked any more."""


class ZygotePair:
    """Orders workers from whichever zygote lives; `environment` is what a fresh one starts with."""

    def __init__(
        self,
        number: int,
        environment: Mapping[str, str],
        nursery: Nursery,
        children: Children,
        owner: ZygoteOwner,
    ) -> None:
        self.number = number
        self.current: Child | None = None
        self.understudy: Child | None = None
        self.plan: Plan | None = None
        self.environment = environment
        self._nursery = nursery
        self._boot: Callable[[str], Boot]
        self._living = children
        self._owner = owner
        self._stopped = False
        self._loaded = False
        self._failures = 0
        self._loop = asyncio.get_running_loop()

    @property
    def children(self) -> list[Child]:
        """The zygotes that live."""
        return [child for child in (self.current, self.understudy) if child is not None]

    def start(self, boot: Callable[[str], Boot]) -> None:
        """Start one that loads the plugins in `environment`; `boot` makes the first
        message for it and its understudies."""
        self._boot = boot
        self._loaded = False
        if self._stopped:
            return
        if (ours := self._nursery.fork()) is None:
            self._start_alone()
            return
        self.current = Child("zygote", self.number, ours, self._receive, self._ended)
        self.current.send(Become(dict(self.environment)))
        self._loop.call_later(_BIRTH, self._nursery_too_slow, self.current)

    def fork(
        self,
        boot: Boot,
        on_message: Callable[[Child, Message], None],
        on_end: Callable[[Child], None],
    ) -> Child | None:
        """Order the worker that `boot` describes; None while no zygote has loaded the code, or
        there is no descriptor."""
        if self.current is None or not self._loaded:
            return None
        if (ours := self.current.order(boot.slot)) is None:
            return None
        child = Child(boot.slot, boot.generation, ours, on_message, on_end)
        child.send(boot)
        return child

    def stop(self) -> None:
        """End both; the workers they have forked live on."""
        self._stopped = True
        for child in self.children:
            child.dismissed = True
            child.kill()

    def _start_alone(self) -> None:
        try:
            pid, ours = spawn("skep.worker", f"zygote@{self.number}", self.environment)
        except OSError as error:
            if self.plan is not None:  # it serves: out of processes or descriptors for a while
                self._loop.call_later(_SHORTAGE, self.start, self._boot)
                return
            text = f"The zygote cannot be started: {error.strerror} (errno {error.errno})."
            self._owner.denied(self, (Problem("load", text),))
            return
        child = Child("zygote", self.number, ours, self._receive, self._ended, pid)
        self.current = child
        self._living.born(child)
        child.send(self._boot("zygote"))

    def _nursery_too_slow(self, child: Child) -> None:
        """The nursery was too slow to fork this one: restart it."""
        if child is self.current and not child.pid:
            self._nursery.give_up()

    def _receive(self, child: Child, message: Message) -> None:
        self._living.take(child, message)
        match message:
            case Hello() if child is self.current and not self._loaded:
                child.send(self._boot("zygote"))
            case Planned(plan):
                self._planned(plan)
            case LoadFailed(problems):
                self._stopped = child.dismissed = True
                self._owner.denied(self, tuple(problems))

    def _planned(self, plan: Plan) -> None:
        if self.plan is not None and plan.code != self.plan.code:
            # A successor from the disk would be another state of the code under the same number.
            self.stop()
            self._owner.bereft(self)
            return
        first, self.plan, self._failures = self.plan is None, plan, 0
        self._loaded = True
        self._stand_by()
        if first:
            self._owner.planned(self, plan)

    def _stand_by(self) -> None:
        missing = self.understudy is None and not self._stopped
        if missing and self._loaded and self.plan is not None and not self.plan.unforkable:
            self.understudy = self.fork(self._boot("zygote"), self._receive, self._ended)

    def _ended(self, child: Child) -> None:
        self._living.ended(child)
        if child is self.understudy:
            # Not at once: that it is gone may mean that the zygote is too, which is not known yet.
            self.understudy = None
            self._loop.call_later(_PAUSE, self._stand_by)
        elif child is self.current:
            self._succeed(child)

    def _succeed(self, late: Child) -> None:
        heir, self.understudy = self.understudy, None
        if heir is not None and not heir.pid:
            # It may never be born: its parent is the one that died. If it is, it ends at once.
            heir.kill()
            heir = None
        self.current = heir
        if self._stopped:
            return
        if heir is not None:
            self._stand_by()
        elif not late.pid:
            self._start_alone()
        elif self.plan is None:
            how = f" ({describe(late.status)})" if late.status is not None else ""
            problem = Problem("load", f"The zygote ended while it loaded{how}.")
            self._owner.denied(self, (problem,))
        else:
            self._failures += 1
            self._loop.call_later(_AGAIN.delay(self._failures), self.start, self._boot)
