"""Fill a disk of 16 MB under a real store, in a mount namespace of its own."""

import asyncio
import subprocess
import sys
from pathlib import Path

from skep.base.errors import StoreFull
from skep.engine.contract import Engine, Envelope, Settlement
from skep.engine.embedded import Embedded
from skep.engine.ids import new_id
from tests.process.store_child import StoreChild
from tests.support import wait_until_async

CHUNK = 64 * 1024


def an_envelope() -> Envelope:
    return Envelope(new_id(), "chores.Nothing", b"x" * 8192)


async def main(disk: Path, filled_by: str) -> None:
    with StoreChild(disk / "data") as store:
        engine = Embedded(store.path, "web.0@1:1")
        await engine.open()
        # Given tasks that wait and some that run
        kept = {envelope.id for envelope in await put(engine, 64)}
        running = await engine.lease((), 32)
        # When the disk is filled
        if filled_by == "others":
            fill(disk / "others")
        kept |= await put_until_full(engine)
        # Then what runs can still end, and be tried again, and what waits can begin
        assert await engine.settle([Settlement(lease, "done") for lease in running]) == [True] * 32
        kept -= {lease.envelope.id for lease in running}
        assert (await engine.stats())["default"].ready == len(kept)
        for _ in range(20):
            leases = await engine.lease((), 8)
            assert all(await engine.settle([Settlement(lease, "retry") for lease in leases]))
        # And after a restart nothing that was accepted is missing
        store.kill()
        store.start()
        assert (await engine.stats())["default"].ready == len(kept)
        while kept:
            leases = await engine.lease((), 100)
            assert all(await engine.settle([Settlement(lease, "done") for lease in leases]))
            kept -= {lease.envelope.id for lease in leases}
        # When there is room again, then what is new is accepted by itself
        (disk / "others").unlink(missing_ok=True)
        await wait_until_async(lambda: accepts(engine))
        await engine.close()


async def put(engine: Engine, number: int) -> list[Envelope]:
    sent = [an_envelope() for _ in range(number)]
    await engine.put(sent)
    return sent


async def put_until_full(engine: Engine) -> set[str]:
    kept: set[str] = set()
    for _ in range(1000):
        try:
            kept |= {envelope.id for envelope in await put(engine, 4)}
        except StoreFull:
            return kept
    raise AssertionError("the disk was never full")


async def accepts(engine: Engine) -> bool:
    try:
        await put(engine, 4)
    except StoreFull:
        return False
    return True


def fill(path: Path) -> None:
    """Write until the disk is full, except for what is less than a chunk."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(CHUNK))
            except OSError:
                return


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(where)]
    subprocess.run(mount, check=True)
    asyncio.run(main(where, sys.argv[2]))
