"""The one writer: requests in batches, one transaction per batch; a thread waits for the disk.

What arrives while a batch is processed is the next batch (*natural group commit*): no timer delays
a lonely request, and a crowd shares one transaction. A transaction is committed to the log without
waiting for the disk, which is enough to survive the death of any process. Leases and settlements
are answered at once, because losing the last of them in a power failure only means that a task runs
again. A `put` is answered when the log has been forced to the disk after its commit; that happens
in a thread, once for all that wait, while further batches are processed.
"""

import asyncio
import logging
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from msgspec import DecodeError

from skep.base.errors import EngineError
from skep.base.telemetry import Telemetry
from skep.engine import protocol
from skep.engine.contract import QueueStats
from skep.engine.ids import now_ms
from skep.store.disk_space import DiskSpace
from skep.store.file.damage import DAMAGE, is_damage, primary_code
from skep.store.flusher import Flusher
from skep.store.liveness import Liveness
from skep.store.repairs import Repairs
from skep.store.request_executor import RequestExecutor
from skep.store.state.database import Database
from skep.store.state.deliveries import NOBODY
from skep.store.waiters import Client, LeaseWaiters, ResultWaiters

# The most requests of one batch: more would make the first wait for the last.
_BATCH = 512
# After a start in the same run: how long the holders of leases may take to reconnect, and how long
# nothing is handed out. The second lets clients repeat what the former store had kept and not
# confirmed, while it can still be recognised as a duplicate.
_COME_BACK_WITHIN = 5.0
_HAND_OUT_AFTER = 0.1
# The most that a jump of the wall clock can delay what is due.
_LONGEST_NAP = 1.0
# The pause before retrying what must be written to a full disk.
_FULL_PAUSE = 1.0
# How long clients may take to read their last replies.
_FAREWELL = 0.2
_KEEP_HOUSE_EVERY = 1.0
# The pause before retrying while another program has locked the file.
_LOCKED_PAUSE = 0.05
_LOCKED = "the queue is locked by another program: what is asked of it waits"
# The pause before retrying a return of leases that failed.
_AGAIN = 1.0

_EMPTY = QueueStats()

log = logging.getLogger(__name__)


class ClientConnection(asyncio.Protocol):
    """The store's end of a connection; `owner` is empty until the client has introduced itself."""

    _transport: asyncio.Transport

    def __init__(self, writer: "Writer", number: int) -> None:
        self.number = number
        self.owner = ""
        self._writer = writer
        self._splitter = protocol.Splitter(protocol.LARGEST_REQUEST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one
        self._writer.came(self)

    def data_received(self, data: bytes) -> None:
        """Pass every whole request on. One that cannot be read is refused by its number; only a
        client that does not send requests at all is disconnected."""
        try:
            for body in self._splitter.feed(data):
                request = protocol.read_request(body)
                if isinstance(request, protocol.Invalid):
                    log.error("%s sent a request that cannot be read: %s", self, request.error)
                    self.send([request])
                else:
                    self._writer.ask(self, request)
        except (DecodeError, EngineError) as error:
            log.error(
                "%s sent something that is not a request and was disconnected: %s", self, error
            )
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writer.left(self)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its replies."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def send(self, replies: Sequence[protocol.Reply]) -> None:
        """Send replies, in one write; they are lost on a client that has gone."""
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join([protocol.frame(reply) for reply in replies]))

    def close(self) -> None:
        """Send what is left, then close."""
        self._transport.close()

    def __str__(self) -> str:
        return self.owner or f"client {self.number}"


class _Lost(NamedTuple):
    """Give to others what a connection that ended, or an owner that was silent too long, holds."""

    holder: int | str


_Matter = tuple[ClientConnection, protocol.Request] | _Lost
_Replies = defaultdict[Client, list[protocol.Reply]]


class Writer:
    """Takes the requests of all connections and processes them in batches.

    An owner that is silent for `lease` seconds loses what it holds. `troubled` is called with what
    operators should know about the file, at first and whenever that changes.
    """

    def __init__(
        self,
        database: Database,
        flusher: Flusher,
        lease: float,
        telemetry: Telemetry,
        troubled: Callable[[list[str]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._flusher = flusher
        self._disk = DiskSpace(database)
        self._repairs = Repairs(database, flusher)
        self._telemetry = telemetry
        self._troubled = troubled
        self._troubles: list[str] | None = None
        self._locked = False
        self._liveness = Liveness(lease)
        self._lease_waiters = LeaseWaiters(self._database, self._liveness.is_silent)
        self._result_waiters = ResultWaiters()
        self._requests = RequestExecutor(
            self._database, self._lease_waiters, self._result_waiters, lease_ms=round(lease * 1000)
        )
        self._matters: deque[_Matter] = deque()
        self._connections: dict[int, ClientConnection] = {}
        self._queues: set[str] = set()
        self._lookups: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._deserted = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._handing_out = not database.same_run
        self._stopping = False
        if database.same_run:  # the holders of the store before may reconnect
            self._loop.call_later(_HAND_OUT_AFTER, self._begin_handing_out)
            self._loop.call_later(_COME_BACK_WITHIN, self._bring, _Lost(NOBODY))
        telemetry.subscribe("metrics.asked", lambda _: self.measure())
        self._keep_house()
        self._look_for_silent()
        self._set_alarm()

    def stop(self) -> None:
        """Let `write` return after the current batch."""
        self._stopping = True
        self._wake.set()

    async def wait_until_alone(self, seconds: float) -> None:
        """Wait until no client is connected, for so many seconds at most."""
        if self._connections:
            self._deserted.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), seconds)

    async def close(self) -> None:
        """Disconnect all clients and close the database. They keep their leases."""
        for connection in self._connections.values():
            connection.close()
        await self.wait_until_alone(_FAREWELL)
        for timer in (self._alarm, self._housekeeping, self._looking):
            if timer is not None:
                timer.cancel()
        self._result_waiters.close()
        self.measure()
        self._flusher.close()
        self._database.close()
        self._repairs.close()

    # -- requests --------------------------------------------------------------------------------

    def came(self, connection: ClientConnection) -> None:
        self._connections[connection.number] = connection

    def ask(self, connection: ClientConnection, request: protocol.Request) -> None:
        """Queue a request for the next batch; a look into the file does not wait for it."""
        if isinstance(request, protocol.Pulse):
            self._note_alive(request.owner)
            return
        self._note_alive(connection.owner)
        is_file = not self._database.in_memory
        if is_file and isinstance(request, protocol.Scan | protocol.Find):
            task = asyncio.create_task(self._look_up(connection, request))
            self._lookups.add(task)
            task.add_done_callback(self._lookups.discard)
        else:
            self._bring((connection, request))

    def left(self, connection: ClientConnection) -> None:
        """Give what the connection holds to others, after all its requests."""
        del self._connections[connection.number]
        self._liveness.forget(connection.owner)
        if not self._connections:
            self._deserted.set()
        self._bring(_Lost(connection.number))

    def _bring(self, *matters: _Matter) -> None:
        self._matters.extend(matters)
        self._wake.set()

    def _note_alive(self, owner: str) -> None:
        if owner and self._liveness.beat(owner, self._loop.time()):
            self._wake.set()  # it may wait for leases

    def _begin_handing_out(self) -> None:
        self._handing_out = True
        self._wake.set()

    async def _look_up(
        self, connection: ClientConnection, request: protocol.Scan | protocol.Find
    ) -> None:
        look_up = partial(self._database.look_up, request)
        try:
            try:
                rows = await asyncio.to_thread(look_up)
            except DAMAGE as error:
                if not self._repairs.help(error):
                    raise
                rows = await asyncio.to_thread(look_up)
        except Exception as error:
            log.error("A look into the queue failed", exc_info=error)
            connection.send([protocol.Invalid(request.call, f"{error}")])
        else:
            connection.send([protocol.Rows(request.call, rows)])

    def measure(self) -> None:
        """Report what is counted and how full the queues are; one that has become empty, too."""
        point, moves = self._telemetry.point, self._database.moves
        counted, self._database.tally.changed = self._database.tally.changed, {}
        for (metric, labels), number in counted.items():
            point("store.counted", metric=metric, labels=labels, number=number)
        try:
            stats = self._database.stats()
        except sqlite3.Error:  # damaged, which the next transaction notices, or closed
            return
        self._queues |= moves.counts.keys() | moves.throttles.keys()
        for queue in self._queues:
            found = stats.get(queue, _EMPTY)
            point(
                "queue.measured",
                queue=queue,
                ready=found.ready,
                scheduled=found.scheduled,
                dead=found.dead,
                oldest=found.oldest / 1000,
                capacity=moves.throttles[queue].limits.max_ready if queue in moves.throttles else 0,
            )
        point("store.measured", scarce=int(self._disk.scarce), events=moves.events)

    # -- batches ---------------------------------------------------------------------------------

    async def write(self) -> None:
        """Process requests, batch by batch, until `stop`."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            batch = [self._matters.popleft() for _ in range(min(len(self._matters), _BATCH))]
            self._process(batch)
            await asyncio.sleep(0)  # let the next requests in
            if self._matters and not self._locked:
                self._wake.set()

    def _process(self, matters: list[_Matter], *, mended: bool = False) -> None:
        self._lease_waiters.begin()
        begun = time.perf_counter()
        try:
            replies = self._carry_out(matters)
            self._database.commit()
        except Exception as error:  # noqa: BLE001 - only the request that caused it may suffer
            mended = self._roll_back() or mended
            self._fail(matters, error, mended)
            return
        self._set_alarm()
        self._locked = False
        seconds = time.perf_counter() - begun
        self._telemetry.point("store.turn", seconds=seconds, requests=len(matters))
        self._send(replies)
        self._requests.notify(self._connections)

    def _roll_back(self) -> bool:
        """Undo the transaction; return whether the file had to be repaired for that."""
        self._lease_waiters.rollback()
        try:
            self._database.rollback()
        except DAMAGE as error:
            if not self._repairs.help(error):
                raise
            return True
        return False

    def _fail(self, matters: list[_Matter], error: Exception, mended: bool) -> None:
        """Handle a batch that was rolled back: free space, wait or repair the file; at last, find
        the one request that fails, by halves, and refuse it."""
        if self._disk.is_full(error):
            self._send(self._refuse(matters, str(error)))
            self._set_alarm(_FULL_PAUSE)
        elif primary_code(error) == sqlite3.SQLITE_BUSY:
            self._wait_for_lock(matters)
        elif not mended and self._repairs.help(error):
            self._process(matters, mended=True)
        elif len(matters) > 1:
            half = len(matters) // 2
            tried = mended or is_damage(error)
            self._process(matters[:half], mended=tried)
            self._process(matters[half:], mended=tried)
        elif matters:
            self._give_up(matters[0], error)
        else:
            raise error  # no request is the cause: the store cannot continue

    def _give_up(self, matter: _Matter, error: Exception) -> None:
        log.error("%s cannot be carried out", _named(matter), exc_info=error)
        if isinstance(matter, _Lost):
            self._loop.call_later(_AGAIN, self._bring, matter)
        else:
            connection, request = matter
            connection.send([protocol.Invalid(request.call, f"{type(error).__name__}: {error}")])

    def _wait_for_lock(self, matters: list[_Matter]) -> None:
        """Retry a little later: another program has locked the file, perhaps to copy it."""
        if not self._locked:
            log.warning("The queue is locked by another program, a backup perhaps: waiting for it.")
        self._locked = True
        self._matters.extendleft(reversed(matters))
        self._set_alarm(_LOCKED_PAUSE)
        self._loop.call_later(_LOCKED_PAUSE, self._wake.set)

    def _send(self, replies: _Replies) -> None:
        """Send replies; what was put must be on the disk first."""
        for connection, answers in replies.items():
            at_once = []
            for answer in answers:
                if isinstance(answer, protocol.PutOutcomes):
                    self._flusher.confirm(connection, answer)
                else:
                    at_once.append(answer)
            if at_once:
                connection.send(at_once)

    def _carry_out(self, matters: Iterable[_Matter]) -> _Replies:
        """Carry out the requests and hand out what became ready; return the replies."""
        replies: _Replies = defaultdict(list)
        now = now_ms()
        self._database.moves.promote(now)
        for matter in matters:
            match matter:
                case _Lost(int(number)):
                    self._requests.let_go(number, lost=True, now=now)
                case _Lost(str(owner)):
                    self._database.moves.take_from(owner, now)
                case connection, request:
                    reply = self._answer(connection, request, now)
                    if reply is not None:
                        replies[connection].append(reply)
        if self._handing_out:
            for client, leases in self._lease_waiters.hand_out(now):
                replies[client].append(leases)
        return replies

    def _answer(
        self, connection: ClientConnection, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        if isinstance(request, protocol.Put) and (self._disk.scarce or self._repairs.trouble):
            return protocol.NoRoom(request.call, "there is no room for anything new")
        if isinstance(request, protocol.Bye):
            self._requests.let_go(connection.number, lost=False, now=now)
            connection.close()
            return None
        if isinstance(request, protocol.Acknowledge):
            self._loop.call_soon(self._report)
        return self._requests.answer(connection, request, now)

    # -- a full disk -----------------------------------------------------------------------------

    def _refuse(self, matters: Sequence[_Matter], error: str) -> _Replies:
        """Refuse what is new; retry the rest in the space that was freed, or later."""
        replies: _Replies = defaultdict(list)
        freed = self._disk.release()
        again: list[_Matter] = []
        for matter in matters:
            refused = (protocol.Put,) if freed else (protocol.Put, protocol.Settle)
            if not isinstance(matter, _Lost) and isinstance(matter[1], refused):
                replies[matter[0]].append(protocol.NoRoom(matter[1].call, error))
            else:
                again.append(matter)
        if freed:
            self._matters.extendleft(reversed(again))
            self._wake.set()
        else:
            self._loop.call_later(_FULL_PAUSE, self._bring, *again)
        return replies

    # -- the clock -------------------------------------------------------------------------------

    def _set_alarm(self, at_least: float = 0.001) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = now_ms()
        due = self._database.next_wake(now)
        if due is not None:
            nap = min((due - now) / 1000, _LONGEST_NAP)
            self._alarm = self._loop.call_later(max(nap, at_least), self._wake.set)

    def _look_for_silent(self) -> None:
        self._bring(*map(_Lost, self._liveness.look(self._loop.time())))
        self._looking = self._loop.call_later(self._liveness.every, self._look_for_silent)

    def _keep_house(self) -> None:
        # Scheduled first: whatever fails now, space that is freed later must be noticed.
        self._housekeeping = self._loop.call_later(_KEEP_HOUSE_EVERY, self._keep_house)
        self._repairs.look()
        try:
            self._disk.keep_house()
        except DAMAGE as error:
            if not self._repairs.help(error):
                log.error("The store cannot keep house", exc_info=error)
        self._report()

    def _report(self) -> None:
        troubles = [
            *(damage.what for damage in self._database.damages),
            *filter(None, (self._disk.trouble, self._repairs.trouble)),
            *([_LOCKED] if self._locked else []),
        ]
        if troubles != self._troubles:
            self._troubles = troubles
            self._troubled(troubles)


def _named(matter: _Matter) -> str:
    if isinstance(matter, _Lost):
        return f"The return of what {matter.holder} holds"
    return f"A request ({type(matter[1]).__name__.lower()}) of {matter[0]}"
