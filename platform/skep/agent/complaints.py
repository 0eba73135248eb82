"""Say each trouble once, and again after a while, however often it happens."""


class Complaints:
    """What was complained of, and when; pure but for its memory.

    The same text is due again after `interval` seconds. `clear` is for when all is well again: then
    even a known text is news.
    """

    # So many different texts at once come only from a server that varies them; then the oldest go.
    _MOST = 32

    def __init__(self, interval: float = 60.0) -> None:
        self._interval = interval
        self._said: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Say whether anything was complained of since all was well."""
        return bool(self._said)

    def due(self, text: str, now: float) -> bool:
        """Say whether to say it; if so it counts as said. `now` is in seconds, on any clock."""
        said = self._said.get(text)
        if said is not None and now - said < self._interval:
            return False
        self._said.pop(text, None)
        self._said[text] = now
        if len(self._said) > self._MOST:
            del self._said[next(iter(self._said))]
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._said.clear()
