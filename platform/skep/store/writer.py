"""The one writer: all requests in turns, one transaction a turn, and the disk waited for aside.

What has come while a turn was worked off is the next turn (*natural group commit*): no timer delays
a lonely request, and a crowd shares one transaction. A transaction is committed to the log without
waiting for the disk, which is enough to survive the death of any process; leases and settlements
are answered there and then, because losing the last of them with the power only means that a task
runs again. A `put` is answered when the log has been forced to the disk after its commit. That
happens in a thread, while further turns go on, and once for all who wait for it.
"""

import asyncio
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from skep.base.telemetry import Telemetry
from skep.engine import protocol
from skep.engine.ids import now_ms
from skep.store.answers import Answers
from skep.store.connection import Connection
from skep.store.database import Database
from skep.store.deliveries import NOBODY
from skep.store.flusher import Flusher
from skep.store.pulses import Pulses
from skep.store.room import Room
from skep.store.scan import find, scan
from skep.store.takers import Takers
from skep.store.waiters import Waiters

# The most requests of one turn: more would make the first of them wait for the last.
_TURN = 512
# After a start in the same run: how long the holders of leases may take to come back for them, and
# how long nothing is handed out. The second lets clients repeat what the former store had kept and
# not confirmed, while it is still here to be recognised as a duplicate.
_COME_BACK_WITHIN = 5.0
_HAND_OUT_AFTER = 0.1
# The wall clock may jump; what is due is late by no more than this because of it.
_LONGEST_NAP = 1.0
# After the disk was found full, how long until what must be written is tried again.
_FULL_PAUSE = 1.0
# How long clients may take to read their last answers.
_FAREWELL = 0.2
_KEEP_HOUSE_EVERY = 1.0


class _Lost(NamedTuple):
    """A connection has ended; what it still holds goes to others."""

    number: int


class _Silent(NamedTuple):
    """An owner has not been heard of for too long; what it holds goes to others."""

    owner: str


_Matter = tuple[Connection, protocol.Request] | _Lost | _Silent
_Replies = defaultdict[Connection, list[protocol.Reply]]


class Writer:
    """The desk to which all requests are brought, and the one who works them off in turns.

    An owner that is silent for `lease` seconds loses what it holds.
    """

    def __init__(
        self, path: Path, flusher: Flusher, room: Room, lease: float, telemetry: Telemetry
    ) -> None:
        self._database = Database(path, damaged=lambda: telemetry.point("store.corrupt"))
        self._flusher = flusher
        self._room = room
        self._telemetry = telemetry
        self._pulses = Pulses(lease)
        self._takers = Takers(self._database, self._pulses.is_silent)
        self._waiters = Waiters()
        self._answers = Answers(
            self._database, self._takers, self._waiters, lease_ms=round(lease * 1000)
        )
        self._matters: deque[_Matter] = deque()
        self._connections: dict[int, Connection] = {}
        self._lookups: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._deserted = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._housekeeping: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._handing_out = True
        self._stopping = False

    def open(self, run_id: str) -> None:
        """Open the database and wait for those who may come back."""
        same_run = self._database.open(run_id, now_ms())
        self._room.open(self._database)
        self._flusher.open()
        loop = asyncio.get_running_loop()
        self._loop = loop
        if same_run:
            self._handing_out = False
            loop.call_later(_HAND_OUT_AFTER, self._begin_handing_out)
            loop.call_later(_COME_BACK_WITHIN, self._bring, _Lost(NOBODY))
        self._keep_house()
        self._look_for_silent()
        self._set_alarm()

    def stop(self) -> None:
        """Let `write` return after the turn at hand."""
        self._stopping = True
        self._wake.set()

    async def wait_until_alone(self, seconds: float) -> None:
        """Wait until no client is connected, but not for ever."""
        if self._connections:
            self._deserted.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), seconds)

    async def close(self) -> None:
        """Hang up on everybody and close the database. Their leases stay theirs."""
        for connection in self._connections.values():
            connection.close()
        await self.wait_until_alone(_FAREWELL)
        for timer in (self._alarm, self._housekeeping, self._looking):
            if timer is not None:
                timer.cancel()
        self._waiters.close()
        self._flusher.close()
        self._database.close()

    # -- the desk --------------------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """Know a new client."""
        self._connections[connection.number] = connection

    def ask(self, connection: Connection, request: protocol.Request) -> None:
        """Take a request for the next turn; a look waits for no turn."""
        if isinstance(request, protocol.Pulse):
            self._hear_of(request.owner)
            return
        self._hear_of(connection.owner)
        if isinstance(request, protocol.Scan | protocol.Find):
            task = asyncio.create_task(self._look_up(connection, request))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)
        else:
            self._bring((connection, request))

    def left(self, connection: Connection) -> None:
        """Give what the connection holds to others, after all that it has asked for."""
        del self._connections[connection.number]
        self._pulses.forget(connection.owner)
        if not self._connections:
            self._deserted.set()
        self._bring(_Lost(connection.number))

    def _bring(self, *matters: _Matter) -> None:
        self._matters.extend(matters)
        self._wake.set()

    def _hear_of(self, owner: str) -> None:
        if owner and self._pulses.beat(owner, self._loop.time()):
            self._wake.set()  # it waits for leases, perhaps

    def _begin_handing_out(self) -> None:
        self._handing_out = True
        self._wake.set()

    async def _look_up(
        self, connection: Connection, request: protocol.Scan | protocol.Find
    ) -> None:
        look = find if isinstance(request, protocol.Find) else scan
        if self._database.in_memory:
            rows = look(self._database, request)  # type: ignore[arg-type]
        else:
            rows = await asyncio.to_thread(look, self._database, request)  # type: ignore[arg-type]
        connection.send([protocol.Rows(request.call, rows)])

    # -- the turns -------------------------------------------------------------------------------

    async def write(self) -> None:
        """Work off what is brought, turn by turn, until `stop`."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            self._turn()
            await asyncio.sleep(0)  # let the next requests in
            if self._matters:
                self._wake.set()

    def _turn(self) -> None:
        """Do what was asked, commit once, and only then answer."""
        matters = [self._matters.popleft() for _ in range(min(len(self._matters), _TURN))]
        self._takers.begin()
        begun = time.perf_counter()
        try:
            replies = self._do(matters)
            self._database.commit()
        except sqlite3.OperationalError as error:
            self._database.rollback()
            self._takers.rollback()
            if not self._room.is_full(error):
                raise
            replies = self._refuse(matters, str(error))
            self._set_alarm(_FULL_PAUSE)
        else:
            self._set_alarm()
            seconds = time.perf_counter() - begun
            self._telemetry.point("store.turn", seconds=seconds, requests=len(matters))
        self._send(replies)
        self._tell()

    def _send(self, replies: _Replies) -> None:
        """Answer; but what was put has to be on the disk first."""
        for connection, answers in replies.items():
            at_once = []
            for answer in answers:
                if isinstance(answer, protocol.Outcomes):
                    self._flusher.confirm(connection, answer)
                else:
                    at_once.append(answer)
            if at_once:
                connection.send(at_once)

    def _tell(self) -> None:
        """Tell those who have not asked just now, but whom the turn concerns."""
        results, edits = self._database.results, self._database.edits
        if results.fresh:
            self._waiters.tell(results.fresh)
            results.fresh.clear()
        for number, delivery in edits.flagged:
            if (holder := self._connections.get(number)) is not None:
                holder.send([protocol.Flagged([delivery])])
        edits.flagged.clear()

    def _do(self, matters: Iterable[_Matter]) -> _Replies:
        """Do what was asked and hand out what became ready; return what is to be answered."""
        replies: _Replies = defaultdict(list)
        now = now_ms()
        self._database.moves.promote(now)
        for matter in matters:
            match matter:
                case _Lost(number):
                    self._let_go(number, lost=True, now=now)
                case _Silent(owner):
                    self._database.moves.take_from(owner, now)
                case connection, request:
                    reply = self._answer(connection, request, now)
                    if reply is not None:
                        replies[connection].append(reply)
        if self._handing_out:
            for connection, leases in self._takers.hand_out(now):
                replies[connection].append(leases)
        return replies

    def _answer(
        self, connection: Connection, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        if isinstance(request, protocol.Put) and self._room.scarce:
            return protocol.Refused(request.call, "there is no room for anything new")
        if isinstance(request, protocol.Bye):
            self._let_go(connection.number, lost=False, now=now)
            connection.close()
            return None
        return self._answers.answer(connection, request, now)

    def _let_go(self, number: int, lost: bool, now: int) -> None:
        """Forget that a connection waits for leases, and give back those it holds."""
        self._takers.forget(number)
        self._database.moves.give_back(number, lost, now)

    # -- a full disk -----------------------------------------------------------------------------

    def _refuse(self, matters: Sequence[_Matter], error: str) -> _Replies:
        """Refuse what is new; do the rest in the room that was made, or when there is some."""
        replies: _Replies = defaultdict(list)
        made = self._room.make()
        again: list[_Matter] = []
        for matter in matters:
            refused = (protocol.Put,) if made else (protocol.Put, protocol.Settle)
            if not isinstance(matter, _Lost | _Silent) and isinstance(matter[1], refused):
                replies[matter[0]].append(protocol.Refused(matter[1].call, error))
            else:
                again.append(matter)
        if made:
            self._matters.extendleft(reversed(again))
            self._wake.set()
        else:
            self._loop.call_later(_FULL_PAUSE, self._bring, *again)
        return replies

    # -- the clock -------------------------------------------------------------------------------

    def _set_alarm(self, at_least: float = 0.001) -> None:
        """Wake up when the next delivery is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = now_ms()
        due = self._database.next_wake(now)
        if due is not None:
            nap = min((due - now) / 1000, _LONGEST_NAP)
            self._alarm = self._loop.call_later(max(nap, at_least), self._wake.set)

    def _look_for_silent(self) -> None:
        self._bring(*map(_Silent, self._pulses.look(self._loop.time())))
        self._looking = self._loop.call_later(self._pulses.every, self._look_for_silent)

    def _keep_house(self) -> None:
        # First of all: whatever goes wrong now, room that there is later has to be noticed.
        self._housekeeping = self._loop.call_later(_KEEP_HOUSE_EVERY, self._keep_house)
        self._room.keep_house()
        self._telemetry.point("store.measured", scarce=int(self._room.scarce))
