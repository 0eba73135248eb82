"""What became of the requests, as far as somebody may still want to know."""

from dataclasses import replace

from skep.config.options.table import Options, changed
from skep.supervisor.config.refusals import Refusals
from skep.supervisor.report import Report


class Outcomes:
    """The latest reports.

    `last` is the newest that changed something or was refused. `refusals` are the releases that the
    agent has refused. `restart_required` are the keys that take a new start.
    """

    def __init__(self) -> None:
        self.last: Report | None = None
        self.refusals = Refusals()
        self._candidate: Report | None = None
        self._release: Report | None = None
        self.restart_required: list[str] = []
        self._first: Options | None = None

    @property
    def serving(self) -> bool:
        """Whether there has been a generation in service."""
        return self._first is not None

    @property
    def refused(self) -> Report | None:
        """Why what is wanted is not what serves, None if it is: the newest candidate was refused,
        or the newest release of some namespace."""
        releases = self.refusals.problems if self._release else ()
        report = self._candidate or self._release
        if report is None or not (self._candidate or releases):
            return None
        candidate = self._candidate.problems if self._candidate else ()
        return replace(report, problems=(*candidate, *releases))

    def refuse(self, report: Report) -> None:
        """Remember the report on a release that the agent has refused."""
        self.last = self._release = report

    def take(self, report: Report, fell_back: Report | None) -> None:
        """Remember a report; `fell_back` is why the start had to make do with an older snapshot."""
        self.last = report if report.outcome != "unchanged" else self.last or report
        self._candidate = report if report.outcome in ("refused", "rolled back") else None
        if report.cause == "start" and report.outcome == "committed":
            self._candidate = fell_back

    def compare(self, options: Options) -> None:
        """Compare the options in force with those of the start."""
        self._first = self._first or options
        taken = changed(self._first, options)
        self.restart_required = [key for key, takes in taken.items() if takes == "restart"]
