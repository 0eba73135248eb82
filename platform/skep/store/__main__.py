"""`python -P -m skep.store`: the store slot."""

import asyncio
import socket
import sys
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.metrics.counter_page import PAGE
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.page_values import keep_in_page
from skep.metrics.subscriber import subscribe
from skep.store.server import serve
from skep.wire.lifecycle import Role
from skep.wire.messages import Boot, Troubled
from skep.wire.platform_slot import Send, run

# When the supervisor has died, its workers drain for 3 s and settle what they finish. If another
# store handed out their leases in that time, tasks would run twice.
_PATIENCE = 3.5


class StoreSlot(Role):
    """The store as a slot: it serves the socket the supervisor has bound.

    It prepares nothing, because the store before it may still have the file open, and it serves on
    when it retires, because clients may still have something to settle.
    """

    def __init__(self, boot: Boot, telemetry: Telemetry, send: Send) -> None:
        self._run_id = boot.run_id
        self._options = Options.from_json(boot.options)
        self._telemetry = telemetry
        self._send = send
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        self._serving = asyncio.create_task(
            serve(
                listeners["store"],
                RunDir(self._options.data_dir).queue_file,
                run_id=self._run_id,
                stop=self._stop,
                patience=_PATIENCE,
                durability=self._options.durability,  # type: ignore[arg-type]  # checked as one
                lease=self._options.lease_time,
                telemetry=self._telemetry,
                troubled=lambda reasons: self._send(Troubled(reasons)),
            )
        )
        return self._serving

    async def drain(self, deadline: float) -> None:
        self._stop.set()
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=_PATIENCE + 0.3)


def main() -> int:
    """Be the store slot; return its exit code."""
    keep_in_page()
    registry, telemetry = CollectorRegistry(), Telemetry()
    instruments = Instruments(registry, "store")
    instruments.watch_garbage()
    subscribe(telemetry, instruments)
    framer = Framer(registry)

    def frame() -> dict[str, Any]:
        telemetry.point("metrics.asked")
        return framer.next()

    return run(lambda boot, send: StoreSlot(boot, telemetry, send), frame, PAGE.share())


if __name__ == "__main__":
    sys.exit(main())
