"""Which queues a request to lease means."""

from collections.abc import Sequence


def selected(named: Sequence[str], ready: Sequence[str]) -> Sequence[str]:
    """Return the queues that are named, or of the `ready` ones those that no `-name` leaves out."""
    if named and not named[0].startswith("-"):
        return named
    return [queue for queue in ready if f"-{queue}" not in named]
