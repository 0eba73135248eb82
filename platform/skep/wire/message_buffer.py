"""From bytes and descriptors to messages and back; no socket in here."""

import os
from collections import deque
from collections.abc import Iterable

from skep.wire.messages import Message, ProtocolError, decode

# A plan or a frame of metrics is far below this; what is above comes from a broken child.
LONGEST_LINE = 16 * 1024 * 1024


class MessageBuffer:
    """Collects what was received and yields whole messages, each with its descriptors."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Iterable[int] = ()) -> None:
        """Take what one receive call returned."""
        self._bytes += data
        self._descriptors.extend(descriptors)

    def next(self) -> tuple[Message, list[int]] | None:
        """Return the next whole message and the descriptors that came with it, or None.

        Raises ProtocolError for a line that is not a message or never ends.
        """
        end = self._bytes.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._bytes)
            if self._searched > LONGEST_LINE:
                raise ProtocolError(f"{ProtocolError.text}: a line of over {LONGEST_LINE} bytes.")
            return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        self._searched = 0
        message = decode(line)
        wanted = getattr(message, "fds", 0)
        if wanted > len(self._descriptors):
            raise ProtocolError(f"{ProtocolError.text}: descriptors are missing in {message!r}.")
        return message, [self._descriptors.popleft() for _ in range(wanted)]

    def close(self) -> None:
        """Close the descriptors that were not taken."""
        while self._descriptors:
            os.close(self._descriptors.popleft())
