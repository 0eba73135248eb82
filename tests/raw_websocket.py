"""A WebSocket client that sends exactly what a test wants, right or wrong."""

import asyncio
import os
import struct
from typing import Self

TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="

Frame = tuple[int, bytes]


class RawWebSocket:
    """One connection. `reader` and `writer` are for bytes that are not a frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, path: str, *headers: str) -> Self:
        """Connect and shake hands."""
        made = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))
        status = await made.handshake(path, *headers)
        assert status == 101, status
        return made

    async def handshake(self, path: str, *headers: str) -> int:
        """Ask for the upgrade; return the status."""
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: test",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Key: {_KEY}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return int(self.head.split()[1])

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        """Return a masked frame."""
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        size = len(payload)
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack("!H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", size)
        mask = os.urandom(4)
        repeated = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        return head + mask + masked.to_bytes(size, "big")

    async def send(self, data: bytes, chop: int = 0) -> None:
        """Send bytes, in pieces of `chop` if it is given."""
        for start in range(0, len(data), chop or len(data) or 1):
            self.writer.write(data[start : start + chop] if chop else data)
            await self.writer.drain()
            if chop:
                await asyncio.sleep(0)

    async def read(self) -> Frame | None:
        """Return the opcode and the payload of the next frame, None at the end."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", await self.reader.readexactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
            payload = await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        assert not second & 0x80, "a server's frame is masked"
        assert first & 0x80, "our servers send whole messages"
        return first & 0x0F, payload

    async def rest(self) -> list[Frame]:
        """Return the frames until the end; a close is answered."""
        frames = []
        async with asyncio.timeout(10):
            while (frame := await self.read()) is not None:
                frames.append(frame)
                if frame[0] == CLOSE:
                    await self.send(self.frame(CLOSE, frame[1]))
        self.writer.close()
        return frames


def close_of(frames: list[Frame]) -> int:
    """Return the code of the close frame, 1005 if it has none, 1006 if there is no such frame."""
    for opcode, payload in frames:
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big") if payload else 1005
    return 1006
