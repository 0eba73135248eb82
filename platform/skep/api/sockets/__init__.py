"""Sockets of plugins: TCP, UDP and HTTP listeners, WebSockets and pushing to them."""

from skep.api.sockets.framing import Chunks, Delimited, LengthPrefixed, Lines
from skep.api.sockets.handlers import Packet, TcpConnection, TcpHandler, UdpHandler
from skep.api.sockets.listeners import HttpListener, TcpListener, UdpListener

__all__ = [
    "Chunks",
    "Delimited",
    "HttpListener",
    "LengthPrefixed",
    "Lines",
    "Packet",
    "TcpConnection",
    "TcpHandler",
    "TcpListener",
    "UdpHandler",
    "UdpListener",
]
