"""A chat with rooms. Messages are JSON: `{"join": "tea"}`, `{"leave": "tea"}`, `{"room": "tea",
"text": "hello"}`, `{"who": "tea"}`."""

import json
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

from plugins.echo import guests
from skep import Connection, WebSocketHandler, Worker, presence, push

LOBBY = "lobby"


class Chat(WebSocketHandler):
    """One guest."""

    subprotocols = ("chat.v1",)
    name = ""

    async def on_handshake(self, request: HTTPConnection) -> Response | None:
        self.name = request.query_params.get("name", "")[:40]
        return None if self.name else PlainTextResponse("Who are you? Say ?name=", 401)

    async def on_open(self, connection: Connection) -> None:
        connection.bind(self.name)
        connection.join(LOBBY)
        guests.enter(connection, self.name)
        await connection.send({"hello": self.name, "worker": Worker.current().name})

    async def on_close(self, connection: Connection, code: int, reason: str) -> None:
        guests.leave(connection)

    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        try:
            said = json.loads(message)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            await connection.send({"error": "That is no JSON object."})
            return
        await self._take(connection, said)

    async def _take(self, connection: Connection, said: dict[str, Any]) -> None:
        match said:
            case {"join": str(room)}:
                connection.join(room)
                await connection.send({"joined": room})
            case {"leave": str(room)}:
                connection.leave(room)
                await connection.send({"left": room})
            case {"room": str(room), "text": str(text)} if room in connection.rooms:
                await push({"from": self.name, "room": room, "text": text}, room=room)
            case {"who": str(room)}:
                there = await presence(room=room)
                await connection.send({"who": sorted({str(guest["user"]) for guest in there})})
            case _:
                await connection.send({"error": "Join a room, leave it, or say something in it."})
