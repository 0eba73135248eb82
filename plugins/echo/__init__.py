"""WebSockets, TCP and UDP: a chat with rooms, a line server and a logger of packets.

Open http://127.0.0.1:5200/echo in two windows, or say

    platform ws push room:lobby "Hello"
    nc 127.0.0.1 5210
    echo hi | nc -u -w1 127.0.0.1 5211
"""

import logging
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute

from plugins.echo import guests
from plugins.echo.chat import Chat
from skep import (
    Hooks,
    Packet,
    Plugin,
    Settings,
    TcpConnection,
    TcpHandler,
    TcpListener,
    UdpHandler,
    UdpListener,
    Worker,
    push,
)

log = logging.getLogger("echo")
_PAGE = Path(__file__).with_name("page.html").read_text()


class EchoSettings(Settings, prefix="ECHO_"):
    """Where it listens; port 0 takes a free one."""

    tcp_port: int = 5210
    udp_port: int = 5211


class LineServer(TcpHandler):
    """Answers every line with the worker it came to."""

    async def on_connect(self, connection: TcpConnection) -> None:
        await connection.send(b"Say something; quit ends it.")

    async def on_receive(self, connection: TcpConnection, frame: bytes) -> None:
        if frame == b"quit":
            connection.close()
            return
        await connection.send(Worker.current().name.encode() + b": " + frame)

    async def on_drain(self, connection: TcpConnection) -> None:
        await connection.send(b"This worker is being replaced: connect again.")


class PacketLog(UdpHandler):
    """Logs every packet, and sends it back."""

    async def on_packet(self, packet: Packet) -> None:
        log.info("%d bytes from %s: %r", len(packet.data), packet.peer[0], packet.data[:80])
        packet.reply(packet.data)


async def page(request: Request) -> HTMLResponse:
    """A page that a browser can chat with."""
    return HTMLResponse(_PAGE)


async def online(request: Request) -> JSONResponse:
    """Who is in the chat, on whichever worker."""
    return JSONResponse(guests.listed())


async def notify(request: Request) -> JSONResponse:
    """Push to a user, whichever worker holds the connection and whichever answers this."""
    text = (await request.body()).decode()
    reached = await push({"from": "the hive", "text": text}, user=request.path_params["user"])
    return JSONResponse({"reached": reached, "worker": Worker.current().name})


plugin = Plugin(
    routes=[
        Route("/echo", page),
        Route("/echo/guests", online),
        Route("/echo/notify/{user}", notify, methods=["POST"]),
        WebSocketRoute("/echo/chat", Chat),
    ],
    sockets=[
        TcpListener(LineServer, port=EchoSettings.current().tcp_port, name="lines"),
        UdpListener(PacketLog, port=EchoSettings.current().udp_port, name="packets"),
    ],
    tables=[guests.Guests],
    settings=[EchoSettings],
    hooks=Hooks(worker_exit=guests.forget),
)
