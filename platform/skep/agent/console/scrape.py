"""The metrics as text, asked for once however many want them at the same time."""

import asyncio
from pathlib import Path

from skep.metrics.exposition import negotiate
from skep.wire import control


class Scrape:
    """Asks the supervisor behind a control socket.

    Its places are few, and the command line and the probes need some. So one scrape runs at a
    time, and whoever asks meanwhile gets its result.
    """

    def __init__(self, control_socket: Path) -> None:
        self._control_socket = control_socket
        self._running: dict[str, asyncio.Task[str]] = {}
        self._turn = asyncio.Lock()

    async def text(self, accept: str) -> tuple[str, str]:
        """Return the type and the text of the metrics that suit a header `Accept`.

        Raises PlatformError.
        """
        content_type, _ = negotiate(accept)
        if (running := self._running.get(content_type)) is None:
            running = asyncio.create_task(self._ask(accept))
            self._running[content_type] = running
            running.add_done_callback(lambda _: self._running.pop(content_type))
        # One who gives up waiting takes the result from nobody else.
        return content_type, await asyncio.shield(running)

    async def _ask(self, accept: str) -> str:
        async with self._turn:
            families = await control.ask(self._control_socket, "metrics")
        _, render = negotiate(accept)
        return render(families)
