"""The last resort when the first generation fails: the snapshot that held last."""

from collections.abc import Callable

from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.request import Report, RolloutRequest
from skep.wire.plan import Problem

# A port that is taken, or a file that cannot be written, is not the configuration's fault.
_OTHER_STAGES = frozenset({"listen", "commit"})


class Fallback:
    """Goes back to the disk when there is no generation to go back to, once.

    `refused` is why it had to, None if it did not.
    """

    def __init__(self, history: ConfigHistory, ask: Callable[[RolloutRequest], None]) -> None:
        self.refused: Report | None = None
        self._history = history
        self._ask = ask

    def refusal(self, request: RolloutRequest, report: Report) -> bool:
        """The first generation did not come up; return whether something else is tried."""
        path = self._history.fallback(request)
        excused = any(problem.stage in _OTHER_STAGES for problem in report.problems)
        if self.refused or excused or not path:
            return False
        self.refused = report
        self._ask(RolloutRequest("start", "the snapshot that held last", path))
        return True

    def held(self) -> None:
        """What is applied has passed its probation."""
        self._history.held()

    def unheld(self, request: RolloutRequest, reason: str) -> None:
        """The first generation, made on this request, does not pass its probation."""
        if path := self._history.fallback(request):
            problem = Problem("probation", f"The first generation does not hold: {reason}.")
            self._ask(
                RolloutRequest("rollback", problem.message, path, problems=(problem,), forced=True)
            )
