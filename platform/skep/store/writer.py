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
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from skep.engine import protocol
from skep.engine.base import Lease
from skep.engine.ids import now_ms
from skep.store.connection import Connection
from skep.store.database import NOBODY, Database
from skep.store.flusher import Flusher
from skep.store.scan import scan

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
# How long a holder may be silent, in ms.
_LEASE = 30_000
# How long clients may take to read their last answers.
_FAREWELL = 0.2


class _Lost(NamedTuple):
    """A connection has ended; what it still holds goes to others."""

    number: int


class _Taker(NamedTuple):
    """Someone who waits for leases."""

    connection: Connection
    take: protocol.Take


_Matter = tuple[Connection, protocol.Request] | _Lost
_Replies = defaultdict[Connection, list[protocol.Reply]]


class Writer:
    """The desk to which all requests are brought, and the one who works them off in turns."""

    def __init__(self, path: Path, flusher: Flusher) -> None:
        self._path = path
        self._database = Database(path)
        self._flusher = flusher
        self._matters: deque[_Matter] = deque()
        self._takers: deque[_Taker] = deque()
        self._connections: set[Connection] = set()
        self._scans: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._deserted = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._handing_out = True
        self._turns = 0
        self._stopping = False

    def open(self, run_id: str) -> None:
        """Open the database and wait for those who may come back."""
        same_run = self._database.open(run_id)
        self._flusher.open()
        if same_run:
            loop = asyncio.get_running_loop()
            self._handing_out = False
            loop.call_later(_HAND_OUT_AFTER, self._begin_handing_out)
            loop.call_later(_COME_BACK_WITHIN, self._bring, _Lost(NOBODY))
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
        for connection in self._connections:
            connection.close()
        await self.wait_until_alone(_FAREWELL)
        if self._alarm is not None:
            self._alarm.cancel()
        self._flusher.close()
        self._database.close()

    # -- the desk --------------------------------------------------------------------------------

    def came(self, connection: Connection) -> None:
        """Know a new client."""
        self._connections.add(connection)

    def ask(self, connection: Connection, request: protocol.Request) -> None:
        """Take a request for the next turn; a scan waits for no turn."""
        if isinstance(request, protocol.Scan):
            task = asyncio.create_task(self._scan(connection, request))
            self._scans.add(task)
            task.add_done_callback(self._scans.discard)
        else:
            self._bring((connection, request))

    def left(self, connection: Connection) -> None:
        """Give what the connection holds to others, after all that it has asked for."""
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()
        self._bring(_Lost(connection.number))

    def _bring(self, *matters: _Matter) -> None:
        self._matters.extend(matters)
        self._wake.set()

    def _begin_handing_out(self) -> None:
        self._handing_out = True
        self._wake.set()

    async def _scan(self, connection: Connection, ask: protocol.Scan) -> None:
        rows = await asyncio.to_thread(scan, self._path, ask.queue, ask.state, ask.after, ask.n)
        connection.send([protocol.Rows(ask.call, rows)])

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
        self._turns += 1
        matters = [self._matters.popleft() for _ in range(min(len(self._matters), _TURN))]
        takers = self._takers.copy()
        self._database.begin()
        try:
            replies = self._do(matters)
            self._database.commit()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            self._database.rollback()
            self._takers = takers
            replies = self._refuse(matters, str(error))
            self._set_alarm(_FULL_PAUSE)
        else:
            self._set_alarm()
        self._send(replies)

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

    def _do(self, matters: Iterable[_Matter]) -> _Replies:
        """Do what was asked and hand out what became ready; return what is to be answered."""
        replies: _Replies = defaultdict(list)
        now = now_ms()
        self._database.promote(now)
        for matter in matters:
            if isinstance(matter, _Lost):
                self._let_go(matter.number, lost=True)
            elif (reply := self._answer(*matter, now)) is not None:
                replies[matter[0]].append(reply)
        if self._handing_out:
            self._hand_out(replies)
        return replies

    def _answer(
        self, connection: Connection, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        match request:
            case protocol.Settle(call, marks):
                return protocol.Settled(call, self._database.settle(marks, now))
            case protocol.Put(call, envelopes):
                return protocol.Outcomes(call, self._database.put(envelopes, now))
            case protocol.Take():
                self._takers.append(_Taker(connection, request))
            case protocol.Untake(call):
                return self._untake(connection, call)
            case protocol.Hello(call, owner, held):
                connection.owner = owner
                kept = self._database.adopt(owner, connection.number, held)
                return protocol.Welcome(call, kept, _LEASE)
            case protocol.Count(call):
                return protocol.Counts(call, self._database.stats())
            case protocol.Bye():
                self._let_go(connection.number, lost=False)
                connection.close()
        return None

    def _untake(self, connection: Connection, call: int) -> protocol.Reply | None:
        for taker in self._takers:
            if taker.connection is connection and taker.take.call == call:
                self._takers.remove(taker)
                return protocol.Leases(call, [])
        return None

    def _let_go(self, number: int, lost: bool) -> None:
        """Forget that a connection waits for leases, and give back those it holds."""
        self._takers = deque(t for t in self._takers if t.connection.number != number)
        self._database.give_back(number, lost)

    def _hand_out(self, replies: _Replies) -> None:
        """Lease what is ready to those who wait, the first first."""
        still_waiting: deque[_Taker] = deque()
        for taker in self._takers:
            leases = self._take(taker)
            if leases:
                replies[taker.connection].append(protocol.Leases(taker.take.call, leases))
            else:
                still_waiting.append(taker)
        self._takers = still_waiting

    def _take(self, taker: _Taker) -> list[Lease]:
        queues = taker.take.queues or self._database.ready_queues()
        if not queues:
            return []
        # Begin with another queue each time, so that a busy one starves no other.
        first = self._turns % len(queues)
        turned = [*queues[first:], *queues[:first]]
        connection = taker.connection
        return self._database.take(connection.owner, connection.number, turned, taker.take.n)

    def _refuse(self, matters: Sequence[_Matter], error: str) -> _Replies:
        """Refuse what asks to be kept; try the rest again when there may be room."""
        replies: _Replies = defaultdict(list)
        again: list[_Matter] = []
        for matter in matters:
            if not isinstance(matter, _Lost) and isinstance(
                matter[1], protocol.Put | protocol.Settle
            ):
                replies[matter[0]].append(protocol.Refused(matter[1].call, error))
            else:
                again.append(matter)
        asyncio.get_running_loop().call_later(_FULL_PAUSE, self._bring, *again)
        return replies

    def _set_alarm(self, at_least: float = 0.001) -> None:
        """Wake up when the next delivery is due."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self._database.next_due
        if due is not None:
            nap = min((due - now_ms()) / 1000, _LONGEST_NAP)
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(nap, at_least), self._wake.set)
