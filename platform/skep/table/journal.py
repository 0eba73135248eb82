"""The journal of crons, in the file of the tables: where each cron stands, and its last runs.

The timer alone writes the state of a cron; a run is written by the process that does it. Both are
written before what they say is done, so that after a kill it is known what had begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, msgpack
from msgspec.structs import replace

from skep.table import schema as file
from skep.table.binding import Tables
from skep.table.schema import Transaction

KEPT_RUNS = 20
# Seconds for which the state of a cron that no plugin declares any more is kept.
_FORGOTTEN = 30 * 86400.0
_STATE, _RUN = b"j", b"h"

# What a run is before it has ended: put into the engine, there, at work.
DELIVERING, WAITING, RUNNING = "delivering", "waiting", "running"
_UNFINISHED = frozenset((DELIVERING, WAITING, RUNNING))


class CronState(Struct, frozen=True, array_like=True):
    """Where a cron stands. `due` is its next moment and `last` the latest that has come, as Unix
    times; None if there is none.

    `wall` and `monotonic` are the clocks at the time of writing, the latter since the `boot` of the
    machine. `terms` says when it is due: a state with other terms is not continued. `missed` counts
    the moments since the last run that had none. `stopped` is since when an operator has stopped
    it, 0 if none has; `ended` is the generation in which its code stopped it; `run` is the run of
    the platform. `undeclared` is since when no plugin declares it, 0 while one does.
    """

    terms: str = ""
    due: float | None = None
    last: float | None = None
    wall: float = 0.0
    monotonic: float = 0.0
    boot: str = ""
    n: int = 0
    missed: int = 0
    stopped: float = 0.0
    ended: str = ""
    run: str = ""
    undeclared: float = 0.0


class CronRun(Struct, frozen=True, array_like=True):
    """One run: its number, when it was due and when it began (Unix times), how many moments before
    it had no run, how many seconds it took, how it ended, and with which error, on one line."""

    n: int
    scheduled: float
    begun: float = 0.0
    missed: int = 0
    outcome: str = RUNNING
    seconds: float = 0.0
    error: str = ""
    by_hand: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self.outcome in _UNFINISHED


_encode = msgpack.Encoder().encode
_state = msgpack.Decoder(CronState).decode
_run = msgpack.Decoder(CronRun).decode


class CronJournal:
    """Reads and writes the journal. Every call is one transaction, of some microseconds.

    Raises TableError, lmdb.Error and OSError when the file cannot be used.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def states(self) -> dict[str, CronState]:
        """Return the state of every cron that is known, by its name."""
        with self._tables.reading() as txn:
            return {key.decode(): _state(raw) for key, raw in file.entries(txn, _STATE)}

    def runs(self, name: str) -> list[CronRun]:
        """Return the last runs of a cron, the oldest first, and any older one that goes on."""
        with self._tables.reading() as txn:
            return _trimmed([_run(raw) for _, raw in file.entries(txn, _prefix(name))])

    def keep(self, states: Mapping[str, CronState]) -> None:
        """Write the states of these crons."""
        with self._tables.writing() as txn:
            for name, state in states.items():
                txn.put(_STATE + name.encode(), _encode(state))

    def declare(self, states: Mapping[str, CronState], now: float) -> None:
        """Write the states of all crons that are declared. What is known of others is kept for
        thirty days, because they may come back. Take room on the disk for what is written later."""
        environment = self._tables.environment
        with self._tables.writing() as txn:
            environment.reserve(2 * environment.used)
            for key, raw in list(file.entries(txn, _STATE)):
                name, known = key.decode(), _state(raw)
                if name in states:
                    _trim(txn, name)
                elif not known.undeclared:
                    txn.put(_STATE + key, _encode(replace(known, undeclared=now)))
                elif now - known.undeclared > _FORGOTTEN:
                    txn.delete(_STATE + key)
                    file.drop(txn, _prefix(name))
            for name, state in states.items():
                txn.put(_STATE + name.encode(), _encode(state))

    def begin(self, name: str, state: CronState, run: CronRun) -> None:
        """Write that a run begins, and where the cron stands from then on."""
        prefix = _prefix(name)
        with self._tables.writing() as txn:
            txn.put(_STATE + name.encode(), _encode(state))
            txn.put(prefix + _number(run.n), _encode(run))
            if run.n > KEPT_RUNS:
                old = prefix + _number(run.n - KEPT_RUNS)
                raw = txn.get(old)
                if raw is not None and not _run(raw).unfinished:
                    txn.delete(old)

    def write(self, name: str, run: CronRun) -> None:
        """Write what has become of a run."""
        with self._tables.writing() as txn:
            txn.put(_prefix(name) + _number(run.n), _encode(run))

    def advance(self, name: str, run: CronRun, *before: str) -> CronRun | None:
        """Write a run if it was one of `before`, or is not known; return what it was otherwise."""
        key = _prefix(name) + _number(run.n)
        with self._tables.writing() as txn:
            raw = txn.get(key)
            known: CronRun | None = None if raw is None else _run(raw)
            if known is not None and known.outcome not in before:
                return known
            txn.put(key, _encode(run))
        return None


def _prefix(name: str) -> bytes:
    return _RUN + name.encode() + b"\0"


def _number(n: int) -> bytes:
    return n.to_bytes(8, "big")


def _trimmed(runs: list[CronRun]) -> list[CronRun]:
    return [run for run in runs[:-KEPT_RUNS] if run.unfinished] + runs[-KEPT_RUNS:]


def _trim(txn: Transaction, name: str) -> None:
    """Delete the runs that no one looks at any more."""
    found = [_run(raw) for _, raw in file.entries(txn, _prefix(name))]
    kept = {run.n for run in _trimmed(found)}
    for run in found:
        if run.n not in kept:
            txn.delete(_prefix(name) + _number(run.n))


def as_document(run: CronRun) -> dict[str, Any]:
    """Return a run as JSON has it."""
    return {name: getattr(run, name) for name in CronRun.__struct_fields__}
