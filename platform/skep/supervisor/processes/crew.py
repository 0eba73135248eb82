"""A set of slots and the children in them: the platform slots, or those of one generation."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from skep.base.backoff import Backoff
from skep.supervisor.processes import crash_budget as budgets
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crash_budget import Budget
from skep.supervisor.processes.events import Events, SlotChanged, WorkerStarted, WorkerStuck
from skep.supervisor.processes.exit_reason import Ending, ended
from skep.supervisor.processes.slot import (
    Fact,
    Slot,
    SlotOrder,
    SlotState,
    SlotTerms,
    SlotTimeouts,
    Succession,
    cut_short,
    hold,
    hurry,
    ordinary,
    step,
)
from skep.supervisor.processes.start_order import has_to_wait
from skep.wire.messages import Accepting, Beat, Failed, Message, Prepared

log = logging.getLogger("skep")

# What `Crew.receive` takes.
MESSAGES: tuple[type[Message], ...] = (Prepared, Accepting, Failed, Beat)
# Between attempts to start what cannot be started just now, or was never born.
_AGAIN = Backoff(first=0.01, factor=2.0, cap=0.2, jitter=0.2)
# A worker that was sent `Go` may accept before it says so.
_ACCEPTING = frozenset({SlotState.GOING, SlotState.READY, SlotState.DRAINING})


class Crew:
    """Slots by name, each a pure `Slot`, and the child that fills it.

    It obeys the orders of the slots; everything that concerns more than one slot is done by the
    supervisor. `launch` orders a child; it returns None, or raises OSError, if that is not possible
    just now. `go` lets one listen. `changed(crew)` is called after every change of a slot.
    """

    def __init__(
        self,
        number: int,
        launch: Callable[["Crew", str], Child | None],
        go: Callable[["Crew", Child], None],
        changed: Callable[["Crew"], None],
        events: Events,
    ) -> None:
        self.number = number
        self.slots: dict[str, Slot] = {}
        self.children: dict[str, Child] = {}
        self.budgets: dict[str, Budget] = {}
        # How the latest worker of each slot ended.
        self.endings: dict[str, Ending] = {}
        # Until when slots wait for others that have to accept before they go.
        self._waiting: dict[str, float] = {}
        self._why: dict[str, str] = {}
        self._attempts: dict[str, int] = {}
        # Whether all end for good, the custom processes last.
        self._ends = False
        self._launch = launch
        self._go = go
        self._changed = changed
        self._events = events
        self._loop = asyncio.get_running_loop()

    def fill(
        self,
        names: Iterable[str],
        limits: SlotTimeouts,
        *,
        released: bool = False,
        whys: Mapping[str, str] | None = None,
        terms: Callable[[str], SlotTerms] = ordinary,
    ) -> None:
        """Add the slots that are not there and start their children; `released` ones go as soon as
        they are prepared, and those that come before them accept.

        `whys` has a word for the metrics for each, if it is not the beginning of a generation.
        """
        self._ends = False
        new = tuple(names)
        # All are there before the first change is published.
        for name in new:
            slot = Slot(name, limits, kept=released, terms=terms(name))
            self.slots.setdefault(name, slot)
            self._why[name] = (whys or {}).get(name, "")
        if released:
            self.release(new)
        for name in new:
            self.feed(name, Fact.FILL)

    def feed(self, name: str, fact: Fact) -> None:
        """Feed a fact to a slot and obey its order. A slot that is gone is forgotten."""
        if (before := self.slots.get(name)) is None:
            return
        slot, order = step(before, fact, self._loop.time())
        self.slots[name] = slot
        if order is not None:
            self._obey(name, order)
        if slot.state is SlotState.GONE:
            del self.slots[name]
            self._attempts.pop(name, None)
            self.endings.pop(name, None)
        if slot.state is not before.state:
            self._fill_one(slot.group)
            worker = f"{name}@{self.number}" if self.number else name
            self._events.publish(SlotChanged(worker, slot.state))
            self._release_waiting()
            self._changed(self)

    def receive(self, child: Child, message: Message) -> None:
        """Take a message of the child in a slot."""
        match message:
            case Prepared():
                self.feed(child.slot, Fact.PREPARED)
            case Accepting():
                self.feed(child.slot, Fact.ACCEPTING)
            case Failed(problem):
                child.problem = problem
            case Beat():
                child.unready, child.trouble = message.unready, message.trouble
                self.feed(child.slot, Fact.BEAT)

    def keep(self, names: Iterable[str]) -> None:
        """Fill these slots again whenever their workers end, from now on."""
        for name in names:
            self.feed(name, Fact.KEEP)

    def release(self, names: Iterable[str]) -> None:
        """Let the slots' workers go as soon as they are prepared, now and after every restart; the
        first one waits for those that come before it, but no longer than they may take to boot."""
        now = self._loop.time()
        for name in names:
            slot = self.slots.get(name)
            if slot is not None and not slot.released and has_to_wait(slot, self.slots):
                self._waiting.setdefault(name, now + slot.limits.boot)
            else:
                self.feed(name, Fact.RELEASE)

    def restart(self, names: Iterable[str]) -> None:
        """Let the workers in these slots drain and end, and then start others there."""
        for name in names:
            self._why[name] = "restart"
            self.feed(name, Fact.RESTART)

    def retire(
        self, names: Iterable[str] | None = None, replaced: Container[str] = frozenset()
    ) -> None:
        """Let the workers in these slots, or in all, drain and end for good; a new generation has
        workers in the `replaced` slots. Of all, custom processes end last: what the other workers
        finish may need their replies."""
        if names is None:
            self._ends = True
            others = any(not name.startswith("process.") for name in self.children)
            names = [n for n in self.slots if not (others and n.startswith("process."))]
        for name in list(names):
            if name in self.children:
                self.children[name].replaced = name in replaced
            self.feed(name, Fact.RETIRE)

    def cut_short(self) -> None:
        """The platform stops: no task may go on for longer than other work."""
        for name, slot in list(self.slots.items()):
            self.slots[name], order = cut_short(slot, self._loop.time())
            if order is not None:
                self._obey(name, order)

    def kill(self, names: Iterable[str] | None = None) -> None:
        """Kill the children in these slots, or in all; the slots are not filled again."""
        for name in list(self.slots if names is None else names):
            self.feed(name, Fact.RETIRE)
            if name in self.children:
                self.children[name].kill()

    def idle(self) -> list[str]:
        """Return the slots whose worker cannot have accepted anything."""
        return [name for name, slot in self.slots.items() if slot.state not in _ACCEPTING]

    def ended(self, child: Child) -> bool:
        """The child is gone; say whether it had been born."""
        del self.children[child.slot]
        slot = self.slots.get(child.slot)
        if slot is not None and slot.state is SlotState.STARTING and child.pid == 0:
            # It was never born: its zygote died between the order and the fork. That is not a
            # crash of the worker, so it is ordered again from the zygote's successor.
            self._start_later(child.slot)
            return False
        self._attempts.pop(child.slot, None)
        self._note_end(child)
        well = child.status == 0 and not child.dismissed
        self.feed(child.slot, Fact.FINISHED if well else Fact.EXITED)
        self._charge(child)
        if self._ends:
            self.retire()
        return True

    def accepting(self) -> list[Child]:
        """Return the children that take work."""
        return [
            child
            for name, child in self.children.items()
            if name in self.slots and self.slots[name].state is SlotState.READY
        ]

    def expire(self, now: float) -> None:
        """Feed LATE to every slot whose deadline has passed. The messages of its child are read
        first: it may be we who are late. Where there is no child there is nothing to end."""
        for name, slot in list(self.slots.items()):
            if slot.deadline is None or slot.deadline > now:
                continue
            if (child := self.children.get(name)) is not None:
                child.listen()
            slot = self.slots.get(name, slot)
            if slot.deadline is not None and slot.deadline <= now:
                absent = slot.filled and name not in self.children
                self.feed(name, Fact.EXITED if absent else Fact.LATE)
        for name in [name for name, until in self._waiting.items() if until <= now]:
            self._release_one(name)

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next."""
        times = [s.deadline for s in self.slots.values() if s.deadline is not None]
        return min((*times, *self._waiting.values()), default=None)

    @property
    def gone(self) -> bool:
        """Whether all its workers have ended for good."""
        return not self.slots and not self.children

    def not_ready(self) -> list[str]:
        """Return the slots that the platform needs and whose worker does not accept, or says itself
        that it is not ready."""
        return [why for slot, why in self._needed() if why and not self._is_to_follow(slot)]

    def readiness(self) -> dict[str, bool]:
        """Return for each group that the platform needs whether any worker of it is ready."""
        found: dict[str, bool] = {}
        for slot, why_not in self._needed():
            if not self._is_to_follow(slot) and slot.name not in self._waiting:
                found[slot.group] = found.get(slot.group, False) or not why_not
        return found

    def _needed(self) -> Iterator[tuple[Slot, str]]:
        """Yield each slot that the platform needs to be ready, and why it is not."""
        for name, slot in self.slots.items():
            child = self.children.get(name)
            if slot.leaving or slot.again or not slot.terms.vital or slot.state is SlotState.DONE:
                continue
            if slot.state is not SlotState.READY or child is None:
                yield slot, name
            else:
                yield slot, f"{name}: {child.unready}" if child.unready else ""

    def _is_to_follow(self, slot: Slot) -> bool:
        """Whether the worker of a slot waits until that of the generation before has ended."""
        follows = slot.terms.succession is Succession.AFTER
        return follows and not slot.released and slot.name not in self._waiting

    def troubles(self) -> list[str]:
        """Say which groups crash again and again, and how, which processes have failed for good,
        and what workers that serve lack."""
        now = self._loop.time()
        for group, budget in self.budgets.items():
            self.budgets[group] = budgets.calmed(budget, now)
        sentences = (budgets.sentence(k, b, self.slots, now) for k, b in self.budgets.items())
        return [*(text for text in sentences if text), *self._failures(), *self._lacks()]

    def _failures(self) -> Iterator[str]:
        for name, slot in self.slots.items():
            if slot.state is SlotState.FAILED:
                how = self.endings[name].how if name in self.endings else "ended"
                yield f"{name} {how} and is not started again"

    def _lacks(self) -> list[str]:
        names: dict[str, list[str]] = {}
        for name, child in self.children.items():
            if child.trouble:
                names.setdefault(child.trouble, []).append(name)
        return [f"{', '.join(slots)}: {trouble}" for trouble, slots in names.items()]

    def _obey(self, name: str, order: SlotOrder) -> None:
        child = self.children.get(name)
        if order is SlotOrder.START:
            self._start(name)
        elif child is None:
            return
        elif order is SlotOrder.GO:
            self._go(self, child)
        elif order is SlotOrder.DRAIN:
            child.dismiss(self.slots[name].drain)
        else:
            self._force(order, child)

    def _force(self, order: SlotOrder, child: Child) -> None:
        child.stuck = child.stuck or ("drain" if order is SlotOrder.TERMINATE else "hang")
        self._events.publish(WorkerStuck(child, order))
        if order is SlotOrder.ABORT:
            child.signal(signal.SIGABRT)
        elif order is SlotOrder.TERMINATE:
            child.terminate()
        else:
            child.kill()

    def _charge(self, child: Child) -> None:
        slot = self.slots.get(child.slot)
        if slot is None or slot.state is not SlotState.BACKOFF or child.dismissed:
            return
        now, how = self._loop.time(), ended(child)
        before = self.budgets.get(slot.group, Budget())
        budget = budgets.exited(
            before,
            now,
            how,
            booted=child.booted,
            served=not slot.failures,
            takes=slot.terms.served,
        )
        self.budgets[slot.group] = budget
        for name, other in self.slots.items():
            if other.group == slot.group:
                self.slots[name] = hold(other, budget.until)
        self._fill_one(slot.group)
        if before.spent is None and budget.spent is not None:
            log.error(
                "%s workers keep crashing as soon as they are started (last: %s); restarting with "
                "growing delays",
                slot.group,
                budget.last,
            )

    def _note_end(self, child: Child) -> None:
        before = self.endings.get(child.slot)
        count = before.count + 1 if before else 1
        self.endings[child.slot] = Ending(ended(child), time.time(), count)

    def _release_waiting(self) -> None:
        for name in list(self._waiting):
            slot = self.slots.get(name)
            if slot is None or not has_to_wait(slot, self.slots):
                self._release_one(name)

    def _release_one(self, name: str) -> None:
        """Release a slot that waits; releasing another one may have done so."""
        if self._waiting.pop(name, None) is not None:
            self.feed(name, Fact.RELEASE)

    def _fill_one(self, group: str) -> None:
        """Do not wait with one slot of a group that must not be empty, and is."""
        if first := budgets.first_again(self.slots, group):
            name, moment = first
            self.slots[name] = hurry(self.slots[name], max(self._loop.time(), moment))

    def _start(self, name: str) -> None:
        slot = self.slots.get(name)
        if slot is None or slot.state is not SlotState.STARTING or name in self.children:
            return
        try:
            child = self._launch(self, name)
        except OSError as error:  # out of processes, descriptors or memory
            child = None
            if name not in self._attempts:
                log.error("%s cannot be started (%s); it is tried again", name, error.strerror)
        if child is None:
            self._start_later(name)
            return
        self.children[name] = child
        self._events.publish(WorkerStarted(child, bool(slot.exits), self._why.get(name, "")))

    def _start_later(self, name: str) -> None:
        attempts = self._attempts[name] = self._attempts.get(name, 0) + 1
        self._loop.call_later(_AGAIN.delay(attempts), self._start, name)
