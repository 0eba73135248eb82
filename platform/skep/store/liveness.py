"""Who lives: pure, with the time an argument."""


class Liveness:
    """When each owner was last heard of; one that is silent for `term` seconds has lost its leases.

    `look` has to be called several times in a term. When it comes late, it is the store that was
    asleep, and everybody is given a new term.
    """

    def __init__(self, term: float) -> None:
        self.term = term
        self.every = term / 5
        self._heard: dict[str, float] = {}
        self._silent: set[str] = set()
        self._looked: float | None = None

    def beat(self, owner: str, now: float) -> bool:
        """An owner was heard of; say whether it had been silent."""
        self._heard[owner] = now
        if owner not in self._silent:
            return False
        self._silent.remove(owner)
        return True

    def forget(self, owner: str) -> None:
        """An owner has gone."""
        self._heard.pop(owner, None)
        self._silent.discard(owner)

    def is_silent(self, owner: str) -> bool:
        """Say whether an owner was last seen silent."""
        return owner in self._silent

    def look(self, now: float) -> list[str]:
        """Return the owners that have become silent since the last look."""
        asleep = self._looked is not None and now - self._looked > 2 * self.every
        self._looked = now
        if asleep:
            self._heard = dict.fromkeys(self._heard, now)
        silent = [owner for owner, heard in self._heard.items() if now - heard > self.term]
        for owner in silent:
            del self._heard[owner]
        self._silent.update(silent)
        return silent
