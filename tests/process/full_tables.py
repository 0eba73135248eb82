"""Fill a disk of 48 MB below real tables, in a mount namespace of its own."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import lmdb
import pytest

from skep import Table, TableError
from skep.table.binding import Tables, bind
from skep.table.keeper import Keeper


class Small(Table, rows=100, name="small"):
    text: Annotated[bytes, 10_000]


class Large(Table, rows=1000, name="large"):
    text: Annotated[bytes, 100_000]


def main(disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tables", disk], check=True)
    tables = Tables(disk / "tables")
    bind(tables)
    # Given a table for which there is room
    Small.set("a", text=b"a")
    # When there is not enough for another, that one is refused in words
    with pytest.raises(TableError, match=r"The tables need \d+ MiB in .*: No space left"):
        Large.set("a", text=b"a")
    # When others take all that is left
    with suppress(OSError):
        (disk / "others").write_bytes(b"x" * (64 << 20))
    # Then the first one still takes every row that it may have
    for n in range(100):
        Small.set(f"{n}" if n else "a", text=b"x" * 10_000)
    for n in range(2000):
        Small.set(str(n % 99 + 1), text=bytes([n % 256]) * 10_000)
    assert Small.count() == 100
    # And so does a process that starts now
    tables.close()
    bind(tables := Tables(disk / "tables"))
    Small.set("a", text=b"again")
    # And the snapshot, for which there is no room, is an error of the keeper's alone
    keeper = Keeper(tables, patience=30)
    with pytest.raises((OSError, lmdb.Error), match="No space left"):
        keeper.look(0.0)
    Small.set("a", text=b"after")
    (disk / "others").unlink()
    keeper.look(1.0)
    assert not tables.environment.snapshot_file.exists()
    keeper.look(61.0)
    assert tables.environment.snapshot_file.exists()
    keeper.stop()
    tables.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
