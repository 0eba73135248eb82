"""What each request comes to, within a turn."""

from collections.abc import Mapping

from skep.engine import protocol
from skep.store.connection import Client
from skep.store.lease_waiters import LeaseWaiters
from skep.store.result_waiters import ResultWaiters
from skep.store.state.database import Database
from skep.store.state.scan import find, scan


class Answers:
    """Does what is asked and returns what is to be answered once the turn is committed."""

    def __init__(
        self,
        database: Database,
        lease_waiters: LeaseWaiters,
        result_waiters: ResultWaiters,
        lease_ms: int,
    ) -> None:
        self._database = database
        self._lease_waiters = lease_waiters
        self._result_waiters = result_waiters
        self._lease_ms = lease_ms

    def answer(
        self, connection: Client, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        """Do one request; None if there is nothing to say, or not yet."""
        moves = self._database.moves
        match request:  # the frequent first
            case protocol.Settle(call, marks):
                return protocol.Settled(call, moves.settle(marks, now))
            case protocol.Put():
                return self._put(request, now)
            case protocol.Take():
                self._lease_waiters.add(connection, request)
            case protocol.Untake(call):
                if self._lease_waiters.remove(connection, call):
                    return protocol.Leases(call, [])
            case _:
                return self._answer_holder(connection, request, now)
        return None

    def let_go(self, number: int, lost: bool, now: int) -> None:
        """Forget that a client waits for leases, and give back those it holds."""
        self._lease_waiters.forget(number)
        self._database.moves.give_back(number, lost, now)

    def notify(self, clients: Mapping[int, Client]) -> None:
        """After the commit, send what the turn means for clients that have not asked just now."""
        results, edits = self._database.results, self._database.edits
        if results.fresh:
            self._result_waiters.tell(results.fresh)
            results.fresh.clear()
        for number, delivery in edits.flagged:
            if (holder := clients.get(number)) is not None:
                holder.send([protocol.Flagged([delivery])])
        edits.flagged.clear()

    def _answer_holder(
        self, connection: Client, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        moves = self._database.moves
        match request:
            case protocol.Extend(call, tokens):
                return protocol.Settled(call, moves.still(tokens))
            case protocol.Note(call, token, text):
                return protocol.Settled(call, [moves.note(token, text)])
            case protocol.Hello(call, owner, held):
                connection.owner = owner
                kept = moves.adopt(owner, connection.number, held, now)
                return protocol.Welcome(call, kept, self._lease_ms)
            case protocol.Reap(call, owner):
                return protocol.Changed(call, moves.take_from(owner, now))
            case _:
                return self._answer_operator(connection, request, now)

    def _put(self, put: protocol.Put, now: int) -> protocol.Reply:
        moves = self._database.moves
        full = moves.full(put.envelopes)
        if full:
            return protocol.Refused(put.call, f"{moves.waiting(full)} wait in it", full)
        return protocol.Outcomes(put.call, moves.put(put.envelopes, now))

    def _answer_operator(
        self, connection: Client, request: protocol.Request, now: int
    ) -> protocol.Reply | None:
        database = self._database
        match request:
            case protocol.Count(call):
                return protocol.Counts(call, database.stats())
            case protocol.Cancel(call, ids):
                return protocol.Cancelled(call, database.edits.cancel(ids, now))
            case protocol.Change(call, ids, op):
                return protocol.Changed(call, database.edits.edit(ids, op, now))
            case protocol.Grasp(call, name, token, ttl):
                return protocol.Held(call, database.holds.grasp(name, token, ttl, now))
            case protocol.Await():
                return self._await(connection, request, now)
            case protocol.Restore(call, rows):
                return protocol.Changed(call, database.restoring.restore(rows, now))
            case _:
                return self._obey(request)

    def _obey(self, request: protocol.Request) -> protocol.Reply | None:
        """Do what concerns no delivery."""
        match request:
            case protocol.Scan(call):
                return protocol.Rows(call, scan(self._database, request))
            case protocol.Find(call):
                return protocol.Rows(call, find(self._database, request))
            case protocol.Acknowledge(call):
                return protocol.Damages(call, self._database.acknowledge())
            case protocol.Drop(call, name, token):
                self._database.holds.drop(name, token)
                return protocol.Changed(call, 1)
            case protocol.Configure(call, limits):
                self._database.configure(limits)
                return protocol.Changed(call, len(limits))
            case protocol.Pause(call, queues, paused):
                self._database.pause(queues, paused)
                return protocol.Changed(call, len(queues))
        return None

    def _await(
        self, connection: Client, request: protocol.Await, now: int
    ) -> protocol.Reply | None:
        result = self._database.results.read(request.id, now)
        if result is None and request.wait and self._database.moves.look_up(request.id):
            self._result_waiters.add(connection, request.call, request.id, request.wait / 1000)
            return None
        return protocol.Ended(request.call, result)
