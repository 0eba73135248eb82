"""A process that uses a table: `python -m tests.process.table_child breed | NUMBER`."""

import os
import random
import sys
from typing import Annotated

from skep import Table, TableFull, transaction


class Shared(Table, rows=500, index="group", ttl=3600, name="shared"):
    n: int
    group: int
    text: Annotated[str, 2000]


def increment(times: int) -> None:
    for _ in range(times):
        Shared.increment("all", "n")


def churn(seed: int) -> None:
    """Write, delete and move rows for ever; two rows have the same number at any time."""
    dice = random.Random(seed)
    while True:
        key = str(dice.randrange(600))
        try:
            Shared.set(key, group=dice.randrange(5), text="x" * dice.randrange(2000))
        except TableFull:
            Shared.delete(key)
        Shared.delete(str(dice.randrange(600)))
        with transaction():
            Shared.increment("left", "n")
            Shared.increment("right", "n")
        for _ in Shared.rows(prefix="1"):
            pass


def breed() -> None:
    """Fork a child that churns for each line of standard input; write its pid, wait for its end."""
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            churn(int(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        os.waitpid(pid, 0)


if __name__ == "__main__":
    if sys.argv[1] == "breed":
        breed()
    else:
        increment(int(sys.argv[1]))
