"""Carries out requests within a transaction."""

from collections.abc import Mapping

from skep.engine import protocol
from skep.store.state.database import Database
from skep.store.waiters import Client, LeaseWaiters, ResultWaiters


class RequestExecutor:
    """Carries out requests; the replies may be sent once the transaction is committed."""

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
        """Carry out one request; return its reply, None if there is none or not yet."""
        moves = self._database.moves
        match request:  # the frequent first
            case protocol.Settle(call, marks):
                return protocol.Accepted(call, moves.settle(marks, now))
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
        """After the commit, send results and cancellations to the clients that wait for them."""
        fresh, edits = self._database.retained.fresh, self._database.edits
        if fresh:
            self._result_waiters.answer(fresh)
            fresh.clear()
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
                return protocol.Accepted(call, moves.still(tokens))
            case protocol.Note(call, token, text):
                return protocol.Accepted(call, [moves.note(token, text)])
            case protocol.Introduction(call, owner, held):
                connection.owner = owner
                kept = moves.adopt(owner, connection.number, held, now)
                return protocol.Welcome(call, kept, self._lease_ms)
            case protocol.Reap(call, owner):
                return protocol.Affected(call, moves.take_from(owner, now))
            case protocol.Grasp(call, name, token, ttl):
                return protocol.HoldAnswer(call, self._database.grasp(name, token, ttl, now))
            case protocol.Drop(call, name, token):
                self._database.drop(name, token)
                return protocol.Affected(call, 1)
            case protocol.Await():
                return self._await(connection, request, now)
            case _:
                return self._answer_operator(request, now)

    def _put(self, put: protocol.Put, now: int) -> protocol.Reply:
        moves = self._database.moves
        full = moves.full(put.envelopes)
        if full:
            return protocol.NoRoom(put.call, f"{moves.waiting(full)} wait in it", full)
        return protocol.PutOutcomes(put.call, moves.put(put.envelopes, now))

    def _answer_operator(self, request: protocol.Request, now: int) -> protocol.Reply | None:
        database = self._database
        match request:
            case protocol.Count(call):
                return protocol.Counts(call, database.stats())
            case protocol.Cancel(call, ids):
                return protocol.Cancellations(call, database.edits.cancel(ids, now))
            case protocol.Alter(call, ids, op):
                return protocol.Affected(call, database.edits.edit(ids, op, now))
            case protocol.Scan(call) | protocol.Find(call):
                return protocol.Rows(call, database.look_up(request))
            case protocol.Configure(call, limits):
                database.configure(limits)
                return protocol.Affected(call, len(limits))
            case protocol.Expect(call, steps):
                database.expect(steps)
                return protocol.Affected(call, len(steps))
            case protocol.Pause(call, queues, paused):
                database.pause(queues, paused)
                return protocol.Affected(call, len(queues))
            case protocol.Acknowledge(call):
                return protocol.Damages(call, database.acknowledge())
            case protocol.Restore(call, rows):
                return protocol.Affected(call, database.edits.restore(rows, now))
        return None

    def _await(
        self, connection: Client, request: protocol.Await, now: int
    ) -> protocol.Reply | None:
        result = self._database.retained.result(request.id, now)
        if result is None and request.wait and self._database.moves.look_up(request.id):
            self._result_waiters.add(connection, request.call, request.id, request.wait / 1000)
            return None
        return protocol.Ended(request.call, result)
