"""Which owners are alive: pure, with the time as an argument."""


class Liveness:
    """When each owner last sent anything; one that is silent for `term` seconds loses its leases.

    Call `look` every `every` seconds. When a call is late, the store itself was suspended, and each
    owner is given a new term.
    """

    def __init__(self, term: float) -> None:
        self.term = term
        self.every = term / 5
        self._last_sent: dict[str, float] = {}
        self._silent: set[str] = set()
        self._looked: float | None = None

    def beat(self, owner: str, now: float) -> bool:
        """Record that an owner is alive; return whether it had been silent."""
        self._last_sent[owner] = now
        if owner not in self._silent:
            return False
        self._silent.remove(owner)
        return True

    def forget(self, owner: str) -> None:
        self._last_sent.pop(owner, None)
        self._silent.discard(owner)

    def is_silent(self, owner: str) -> bool:
        """Return whether an owner was silent at the last look."""
        return owner in self._silent

    def look(self, now: float) -> list[str]:
        """Return the owners that have become silent since the last look."""
        asleep = self._looked is not None and now - self._looked > 2 * self.every
        self._looked = now
        if asleep:
            self._last_sent = dict.fromkeys(self._last_sent, now)
        silent = [owner for owner, sent in self._last_sent.items() if now - sent > self.term]
        for owner in silent:
            del self._last_sent[owner]
        self._silent.update(silent)
        return silent
