"""Which messages of one WebSocket wait because their reader is slow."""

from collections import deque


class SendQueue:
    """Knows of the transport's buffer only how many bytes it has, so it remembers the sizes of the
    messages that went there last. `unsent` is what the buffer holds now."""

    __slots__ = ("_held", "_size", "_sizes")

    def __init__(self) -> None:
        self._sizes: deque[int] = deque()
        self._size = 0
        self._held = 0

    def add(self, size: int, unsent: int) -> None:
        """Note a message of `size` bytes as the last in the buffer."""
        self._sizes.append(size)
        self._size += size
        self._forget(unsent)

    def hold(self, by: int) -> None:
        """Note how many more messages, or fewer, wait to be put into the buffer."""
        self._held += by

    def waiting(self, unsent: int) -> int:
        """Return how many messages have not left entirely."""
        self._forget(unsent)
        return len(self._sizes) + self._held

    def _forget(self, unsent: int) -> None:
        while self._sizes and self._size - self._sizes[0] >= unsent:
            self._size -= self._sizes.popleft()
