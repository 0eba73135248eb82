"""How often something is tried, and how a handler speaks about it itself."""

from skep.base.backoff import Backoff
from skep.engine.ids import check_delay

# Full jitter: what failed together, because of a neighbour that was away, does not return together.
RETRY_BACKOFF = Backoff(first=1.0, factor=2.0, cap=600.0, jitter=1.0)


class Retry(Exception):
    """Raise it in a handler to be tried again, in `delay` seconds or after the usual backoff.

    It counts as a try: after the last one the delivery goes to the dead letters. A delay that is
    none raises ValueError.
    """

    def __init__(self, delay: float | None = None) -> None:
        super().__init__("asked to be tried again")
        if delay is not None:
            check_delay(delay)
        self.delay = delay


class Discard(Exception):
    """Raise it in a handler to be done with a delivery that is not worth trying again.

    It is no failure: nothing is kept but a line in the log with the reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
