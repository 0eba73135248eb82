"""What became of the requests, as far as somebody may still want to know."""

from skep.config.options import Options, changed
from skep.supervisor.report import Report


class Outcomes:
    """The latest reports.

    `last` is the newest that changed something or was refused. `refused` says why what is wanted is
    not what serves, None if it is. `restart_required` are the keys that take a new start.
    """

    def __init__(self) -> None:
        self.last: Report | None = None
        self.refused: Report | None = None
        self.restart_required: list[str] = []
        self._first: Options | None = None

    @property
    def serving(self) -> bool:
        """Whether there has been a generation in service."""
        return self._first is not None

    def take(self, report: Report, fell_back: Report | None) -> None:
        """Remember a report; `fell_back` is why the start had to make do with an older snapshot."""
        self.last = report if report.outcome != "unchanged" else self.last or report
        self.refused = report if report.outcome in ("refused", "rolled back") else None
        if report.cause == "start" and report.outcome == "committed":
            self.refused = fell_back

    def compare(self, options: Options) -> None:
        """Compare the options in force with those of the start."""
        self._first = self._first or options
        taken = changed(self._first, options)
        self.restart_required = [key for key, takes in taken.items() if takes == "restart"]
