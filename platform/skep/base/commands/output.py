"""The output of a command, line by line, however the command writes it."""

from dataclasses import dataclass

# Bytes of a line that are kept.
LONGEST_LINE = 8192


@dataclass
class LineCutter:
    """Cuts a stream of bytes into lines of text; the rest of a line that is too long is counted.

    What is not UTF-8 becomes the replacement character.
    """

    longest: int = LONGEST_LINE
    _begun: bytes = b""
    _left_out: int = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that end in `data`."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            if self._begun or self._left_out or len(end) > self.longest:
                self._add(end)
                lines.append(self._line())
            else:  # most lines
                lines.append(end.removesuffix(b"\r").decode(errors="replace"))
        self._add(rest)
        return lines

    def end(self) -> list[str]:
        """Return what follows the last newline, if anything does."""
        return [self._line()] if self._begun or self._left_out else []

    def _add(self, part: bytes) -> None:
        room = self.longest - len(self._begun)
        self._begun += part[:room]
        self._left_out += max(0, len(part) - room)

    def _line(self) -> str:
        text = self._begun.removesuffix(b"\r").decode(errors="replace")
        if self._left_out:
            text += f" … {self._left_out} bytes left out"
        self._begun, self._left_out = b"", 0
        return text


@dataclass
class LineBudget:
    """Which lines of a command are logged: as many as `most` a second; the others are counted.

    Times are seconds of one monotonic clock.
    """

    most: int = 1000
    left_out: int = 0
    _since: float = -1.0
    _taken: int = 0

    def take(self, now: float) -> bool:
        """Return whether one more line may be logged now; if not, count it."""
        if now - self._since >= 1.0:
            self._since, self._taken = now, 0
        self._taken += 1
        if self._taken > self.most:
            self.left_out += 1
            return False
        return True

    def owed(self) -> int:
        """Return how many lines were left out since the last call."""
        count, self.left_out = self.left_out, 0
        return count
