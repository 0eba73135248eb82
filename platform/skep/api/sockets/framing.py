"""How a stream of bytes is cut into frames, and frames are put into it.

Each has a `limit`, the largest frame in bytes: what is larger ends the connection, before it is in
memory as a whole.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, Protocol

from skep.base.errors import PlatformError


class FrameTooLarge(PlatformError):
    """A frame is larger than its framing allows; the connection cannot be read any further."""


class Framing(Protocol):
    """What a framing does; an author may bring another."""

    @property
    def limit(self) -> int:
        """The largest frame in bytes."""

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next frame.

        Raises FrameTooLarge, or asyncio.IncompleteReadError at the end of the stream.
        """

    def wrap(self, data: bytes) -> bytes:
        """Return the bytes that a frame with this content is on the wire."""


@dataclass(frozen=True)
class Delimited:
    """Frames that end with a delimiter, which is not part of them."""

    delimiter: bytes = b"\0"
    limit: int = 64 * 1024

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return what comes before the next delimiter."""
        try:
            frame = await reader.readuntil(self.delimiter)
        except asyncio.LimitOverrunError as error:
            raise _too_large(self.limit) from error
        return frame[: -len(self.delimiter)]

    def wrap(self, data: bytes) -> bytes:
        """Add the delimiter."""
        return data + self.delimiter


@dataclass(frozen=True)
class Lines:
    """Lines that end with LF; a CR before it is dropped."""

    limit: int = 64 * 1024

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next line without its end."""
        return (await Delimited(b"\n", self.limit).read(reader)).removesuffix(b"\r")

    def wrap(self, data: bytes) -> bytes:
        """Add the LF."""
        return data + b"\n"


@dataclass(frozen=True)
class LengthPrefixed:
    """Frames that begin with their length as an unsigned number of `size` bytes."""

    size: Literal[1, 2, 4, 8] = 4
    order: Literal["big", "little"] = "big"
    limit: int = 1024 * 1024

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next frame without its length."""
        length = int.from_bytes(await reader.readexactly(self.size), self.order)
        if length > self.limit:
            raise _too_large(self.limit)
        return await reader.readexactly(length)

    def wrap(self, data: bytes) -> bytes:
        """Put the length in front."""
        return len(data).to_bytes(self.size, self.order) + data


@dataclass(frozen=True)
class Chunks:
    """No frames: whatever has come by now, up to `limit` bytes."""

    limit: int = 64 * 1024

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Return what is there, and wait while there is nothing."""
        data = await reader.read(self.limit)
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
        return data

    def wrap(self, data: bytes) -> bytes:
        """Return it as it is."""
        return data


def _too_large(limit: int) -> FrameTooLarge:
    return FrameTooLarge(f"A frame is larger than {limit} bytes.")
