"""The journal as the timer and the task workers use it: crons run also when it cannot be used."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import lmdb
from msgspec.structs import replace

from skep.base.errors import TableError
from skep.base.telemetry import Telemetry
from skep.table.binding import Tables
from skep.table.journal import CronJournal, CronRun, CronState

log = logging.getLogger(__name__)

T = TypeVar("T")

# Why a run has ended that did not end by itself.
INTERRUPTED = "its process ended before it did"


class Record:
    """Writes down what crons do. While that fails, `trouble` says why, and nothing is known.

    Without `tables` nothing is kept.
    """

    def __init__(self, tables: Tables | None) -> None:
        self._journal = None if tables is None else CronJournal(tables)
        self.trouble = ""

    def states(self) -> dict[str, CronState]:
        """Return where each cron stood last."""
        return self._try(CronJournal.states, {})

    def runs(self, name: str) -> list[CronRun]:
        """Return the last runs of a cron, the oldest first."""
        return self._try(lambda journal: journal.runs(name), [])

    def declare(self, states: Mapping[str, CronState], now: float) -> None:
        """Keep the states of all crons that there are. If that fails, nothing is kept from here on:
        a page for which the disk has no room would kill the process that writes it."""

        def declare(journal: CronJournal) -> bool:
            journal.declare(states, now)
            return True

        if not self._try(declare, False):
            self._journal = None

    def keep(self, name: str, state: CronState) -> None:
        """Keep where a cron stands."""
        self._try(lambda journal: journal.keep({name: state}), None)

    def begin(self, name: str, state: CronState, run: CronRun) -> None:
        """Keep that a run begins."""
        self._try(lambda journal: journal.begin(name, state, run), None)

    def write(self, name: str, run: CronRun) -> None:
        """Keep what has become of a run."""
        self._try(lambda journal: journal.write(name, run), None)

    def advance(self, name: str, run: CronRun, *before: str) -> CronRun | None:
        """Keep what has become of a run if it was one of `before`; return what it was otherwise."""
        return self._try(lambda journal: journal.advance(name, run, *before), None)

    def end(
        self,
        name: str,
        run: CronRun,
        telemetry: Telemetry,
        why: str,
        outcome: Literal["interrupted", "hung"] = "interrupted",
    ) -> None:
        """Keep, log and count that a run was cut; it is not repeated."""
        self.write(name, replace(run, outcome=outcome, error=why))
        due = time.strftime("%F %T", time.localtime(run.scheduled))
        log.error(
            "Run %d of the cron %s, due at %s, was cut: %s. It is not repeated.",
            *(run.n, name, due, why),
        )
        telemetry.point("cron.cut", cron=name, outcome=outcome)

    def _try(self, work: Callable[[CronJournal], T], otherwise: T) -> T:
        if self._journal is None:
            return otherwise
        try:
            found = work(self._journal)
        except (TableError, lmdb.Error, OSError) as error:
            self._report(error)
            return otherwise
        self.trouble = ""
        return found

    def _report(self, error: Exception) -> None:
        if not self.trouble:
            log.error(
                "Crons run, but their moments are not kept, so that a restart can lose or repeat "
                "some: %s",
                error,
            )
        self.trouble = f"the moments of crons are not kept ({error})"
