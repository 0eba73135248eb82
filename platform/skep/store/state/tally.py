"""How deliveries have ended, counted in the transactions that end them.

The numbers are in the file, so a counter goes on whatever process is killed or started again, and
an end counts exactly once: the count is committed together with it.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from skep.engine.contract import CountedStep
from skep.engine.protocol import Mark
from skep.metrics.names import BY_NAME, MAX_SERIES
from skep.store.state.transaction import Transaction

# The name of a metric, and the values of its labels in the catalogue's order.
Series = tuple[str, tuple[str, ...]]
# The step, its queue, outcome and verdict; for a listener the event and those it has prevented.
_End = tuple[str, str, str, str, str, tuple[str, ...]]

_INSERT = "INSERT INTO counted (metric, labels, number) VALUES (?, ?, ?)"
_UPDATE = "UPDATE counted SET number = ? WHERE seq = ?"
_READ = "SELECT seq, metric, labels, number FROM counted"
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


class Tally:
    """The counts. `changed` are those that differ from what was reported last."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.changed: dict[Series, int] = {}
        # What is committed, and where it is in the file; what this transaction adds.
        self._numbers: dict[Series, int] = {}
        self._rows: dict[Series, int] = {}
        self._added: dict[Series, int] = {}
        # Kept as they come, because there are many of few kinds in a transaction.
        self._ends: dict[_End, int] = {}
        self._sizes: Counter[str] = Counter()

    def settled(self, mark: Mark, queue: str, cancelled: bool) -> None:
        """Note the end of a lease; a delivery that was `cancelled` is not tried again."""
        if mark.step:
            verdict = "cancelled" if cancelled and mark.verdict == "retry" else mark.verdict
            end = (mark.step, queue, mark.outcome, verdict, mark.event, mark.skipped)
            self._ends[end] = self._ends.get(end, 0) + 1

    def expect(self, steps: Iterable[CountedStep]) -> None:
        """Show what can be counted of these steps, from zero."""
        for one in steps:
            self._show("task_retries_total", one.step, one.queue)
            self._show("tasks_dead_total", one.step, one.queue)
            if one.event:
                self._show("event_deliveries_total", one.event, one.step, "success")
            else:
                self._show("tasks_total", one.step, one.queue, "success")

    def load(self) -> None:
        """Read the numbers from the file, and forget what was not committed.

        What a damaged file has lost is written again with the next count.
        """
        rows = self._transaction.read(_READ).fetchall()
        self._ends.clear()
        self._added.clear()
        self._rows.clear()
        for seq, metric, text, number in rows:
            series = (metric, _decode(text))
            if metric in BY_NAME and len(series[1]) == len(BY_NAME[metric].labels):
                self._rows[series] = seq
                self._set(series, max(number, self._numbers.get(series, 0)))
        self._sizes = Counter(metric for metric, _ in self._numbers)
        for metric, labels in list(self._rows):
            self._show_all(metric, *BY_NAME[metric].siblings(labels))

    def write(self) -> None:
        """Write what this transaction has counted; called before its commit."""
        for end, number in self._ends.items():
            self._count(end, number)
        self._ends.clear()
        for series, number in self._added.items():
            total = self._numbers.get(series, 0) + number
            if (seq := self._rows.get(series)) is not None:
                self._transaction.change(_UPDATE, (total, seq))
                continue
            metric, labels = series
            row = (metric, msgspec.json.encode(labels).decode(), total)
            seq = self._transaction.change(_INSERT, row).lastrowid
            assert seq is not None
            self._rows[series] = seq

    def committed(self) -> None:
        """Let what was written count; called after the commit."""
        for series, number in self._added.items():
            self._set(series, self._numbers.get(series, 0) + number)
        self._added.clear()

    def _count(self, end: _End, number: int) -> None:
        step, queue, outcome, verdict, event, skipped = end
        if event and outcome:
            self._add("event_deliveries_total", (event, step, outcome), number)
            for listener in skipped:
                self._add("event_deliveries_total", (event, listener, "skipped"), number)
        elif outcome:
            self._add("tasks_total", (step, queue, outcome), number)
        if verdict == "retry":
            self._add("task_retries_total", (step, queue), number)
        elif verdict == "dead":
            self._add("tasks_dead_total", (step, queue), number)

    def _add(self, metric: str, labels: tuple[str, ...], number: int) -> None:
        series = (metric, labels)
        if series not in self._numbers:
            series = self._admit(metric, labels)
        self._added[series] = self._added.get(series, 0) + number

    def _admit(self, metric: str, labels: tuple[str, ...]) -> Series:
        """Show what else could have been counted, from zero; return the series that counts, which
        is another if there are too many."""
        row = BY_NAME[metric]
        if self._sizes[metric] >= MAX_SERIES:
            labels = row.folded(labels)
        self._show_all(metric, labels, *row.siblings(labels))
        return metric, labels

    def _show_all(self, metric: str, *series: tuple[str, ...]) -> None:
        for labels in series:
            if (metric, labels) not in self._numbers:
                self._set((metric, labels), 0)
                self._sizes[metric] += 1

    def _show(self, metric: str, *labels: str) -> None:
        if (metric, labels) not in self._numbers:
            self._admit(metric, labels)

    def _set(self, series: Series, number: int) -> None:
        if self._numbers.get(series) != number:
            self._numbers[series] = self.changed[series] = number
