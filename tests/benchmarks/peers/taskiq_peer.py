"""Taskiq over a stream, which acknowledges when a task has ended."""

import asyncio
import os

from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url=os.environ["PEER_REDIS"])
done = os.open(os.environ["PEER_DONE"], os.O_WRONLY | os.O_APPEND)


@broker.task
async def noop() -> None:
    os.write(done, b".")


async def _deliver(number: int) -> None:
    await broker.startup()
    for _ in range(0, number, 50):
        await asyncio.gather(*(noop.kiq() for _ in range(50)))
    await broker.shutdown()


def deliver(number: int) -> None:
    asyncio.run(_deliver(number))
