"""A process that leases one delivery from a store and holds it until it is killed."""

import asyncio
import sys
from pathlib import Path

from skep.engine.embedded import Embedded


async def main(socket: Path, owner: str) -> None:
    engine = Embedded(socket, owner)
    await engine.open()
    await engine.lease((), 1)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
