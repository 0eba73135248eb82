"""Exports rollouts and changes of the configuration as spans.

The supervisor imports no OpenTelemetry. It writes down each operation that is over; this reads it.
"""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from skep.tracing.provider import Provider
from skep.tracing.rollouts import RolloutSpans

# Seconds between two looks at the file.
_LOOK = 1.0


class OperationReader:
    """Reads the operations that were written down since it was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._last = max((entry["id"] for entry in self._entries()), default=0)

    def new(self) -> list[dict[str, Any]]:
        """Return the new operations, the oldest first."""
        found = sorted(
            (entry for entry in self._entries() if entry["id"] > self._last),
            key=lambda entry: int(entry["id"]),
        )
        self._last = max((entry["id"] for entry in found), default=self._last)
        return found

    def _entries(self) -> Iterator[dict[str, Any]]:
        with suppress(OSError, UnicodeDecodeError):
            stat = os.stat(self._path)
            state = stat.st_mtime_ns, stat.st_size
            if state == self._seen:
                return
            self._seen = state
            for line in self._path.read_text().splitlines():
                with suppress(ValueError):  # it is just being written
                    entry = json.loads(line)
                    if isinstance(entry, dict) and isinstance(entry.get("id"), int):
                        yield entry


async def export(operations_file: Path, app_id: str, run_id: str) -> None:
    """Export what is written to this file from now on, until cancelled."""
    instance = f"{socket.gethostname()}/{run_id}/agent.0/{os.getpid()}"
    provider = Provider(app_id, instance, "agent.0")
    reader, spans = OperationReader(operations_file), RolloutSpans(provider.tracer)
    try:
        while True:
            await asyncio.sleep(_LOOK)
            for operation in reader.new():
                spans.export(operation)
    finally:
        for operation in reader.new():
            spans.export(operation)
        await provider.close()
