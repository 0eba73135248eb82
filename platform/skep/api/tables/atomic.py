"""Numbers and flags that all processes share."""

from skep.api.tables.table import Table
from skep.table import binding


class _Atomics(Table, rows=65_536, name="skep.atomics"):
    value: int


class Atomic:
    """A whole number of 64 bits that all processes of the platform share, by its name.

    It is 0 until it is set, and survives reloads and restarts.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self) -> int:
        row = _Atomics.get(self.name)
        return 0 if row is None else row.value

    def set(self, value: int) -> None:
        _Atomics.set(self.name, value=value)

    def add(self, by: int = 1) -> int:
        """Add to it; return the sum."""
        return int(_Atomics.increment(self.name, "value", by))

    def compare_and_set(self, expected: int, value: int) -> bool:
        """Set it if it has the expected value; return whether it had."""
        with binding.transaction():
            if self.get() != expected:
                return False
            self.set(value)
        return True


class AtomicFlag:
    """A flag that all processes of the platform share, by its name; clear until it is set."""

    def __init__(self, name: str) -> None:
        self._number = Atomic(f"{name}\0flag")

    def test_and_set(self) -> bool:
        """Set it; return whether it was set before."""
        return not self._number.compare_and_set(0, 1)

    def clear(self) -> None:
        self._number.set(0)

    def is_set(self) -> bool:
        return self._number.get() != 0
