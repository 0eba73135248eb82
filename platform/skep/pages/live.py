"""Parts of a page that change while a person looks at them, by server-sent events."""

import re
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse


def event_stream(fragments: AsyncIterator[str | None]) -> StreamingResponse:
    """Answer with a stream of fragments of HTML; each one replaces the one before. None only
    shows that the connection is alive."""
    return StreamingResponse(
        _encoded(fragments),
        media_type="text/event-stream",
        # nginx would otherwise hold the events back.
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _encoded(fragments: AsyncIterator[str | None]) -> AsyncIterator[str]:
    yield "retry: 3000\n\n"
    async for fragment in fragments:
        if fragment is None:
            yield ": alive\n\n"
        else:
            lines = re.split(r"\r\n|\n|\r", fragment)
            yield "".join(f"data: {line}\n" for line in lines) + "\n"
