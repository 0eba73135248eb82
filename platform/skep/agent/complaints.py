"""Report each problem once, and again after a while, however often it happens."""


class Complaints:
    """The reported problems; pure but for its memory. The same text is due again after `interval`
    seconds, or after `clear`."""

    # Only a server that varies its texts has more than this; then the oldest are dropped.
    _MOST = 32

    def __init__(self, interval: float = 60.0) -> None:
        self._interval = interval
        self._said: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def due(self, text: str, now: float) -> bool:
        """Return whether to report it, and then count it as reported. `now` is in seconds."""
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
