"""The address of this machine as another one would see it."""

import asyncio
from contextlib import suppress


async def address_towards(host: str, port: int, patience: float) -> str:
    """Return the address of the interface that leads to a host; "" if that cannot be told.

    Nothing is sent: connecting a datagram socket only chooses the way. `patience` is in seconds.
    """
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience):
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=(host, port)
            )
        try:
            name: tuple[str, int] = transport.get_extra_info("sockname")
            return name[0].partition("%")[0]
        finally:
            transport.abort()
    return ""
