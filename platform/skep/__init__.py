"""skep: resident Python workers that follow a config service.

What plugin authors need is here and nowhere else. The names are loaded when they are used: the
supervisor lives in this package too and must not load what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skep.api.cron import CronJob, Tick, cron
    from skep.api.hooks import Hooks, ReloadInfo, ServerInfo, WorkerInfo
    from skep.api.plugin import Plugin
    from skep.api.sockets.framing import Chunks, Delimited, LengthPrefixed, Lines
    from skep.api.sockets.listeners import HttpListener, TcpListener, UdpListener
    from skep.api.sockets.push import broadcast, connections, disconnect, presence, push, push_sync
    from skep.api.sockets.tcp import TcpConnection, TcpHandler
    from skep.api.sockets.udp import Packet, UdpHandler
    from skep.api.sockets.websocket import Connection, WebSocketHandler, connection_of
    from skep.api.tasks.context import Context
    from skep.api.tasks.decorators import on, task
    from skep.api.tasks.event import Event, Listener
    from skep.api.tasks.platform_events import ConfigChanged, GenerationCommitted, WorkerExited
    from skep.api.tasks.policy import Discard, Retry
    from skep.api.tasks.receipt import Receipt, TaskCancelled, TaskFailed
    from skep.api.tasks.task import Task, gather
    from skep.api.worker import Worker
    from skep.base.backoff import Backoff
    from skep.base.errors import EngineError, QueueFull, StoreFull, StoreUnavailable
    from skep.config.env.settings import Live, Settings

_WHERE = {
    # What a plugin declares.
    "Plugin": "skep.api.plugin",
    "Hooks": "skep.api.hooks",
    "ReloadInfo": "skep.api.hooks",
    "ServerInfo": "skep.api.hooks",
    "WorkerInfo": "skep.api.hooks",
    "Settings": "skep.config.env.settings",
    "Live": "skep.config.env.settings",
    # Work for later.
    "Task": "skep.api.tasks.task",
    "Event": "skep.api.tasks.event",
    "Listener": "skep.api.tasks.event",
    "task": "skep.api.tasks.decorators",
    "on": "skep.api.tasks.decorators",
    "Receipt": "skep.api.tasks.receipt",
    "gather": "skep.api.tasks.task",
    "TaskFailed": "skep.api.tasks.receipt",
    "TaskCancelled": "skep.api.tasks.receipt",
    "Context": "skep.api.tasks.context",
    "Retry": "skep.api.tasks.policy",
    "Discard": "skep.api.tasks.policy",
    "Backoff": "skep.base.backoff",
    "EngineError": "skep.base.errors",
    "QueueFull": "skep.base.errors",
    "StoreFull": "skep.base.errors",
    "StoreUnavailable": "skep.base.errors",
    # Work by the clock.
    "CronJob": "skep.api.cron",
    "Tick": "skep.api.cron",
    "cron": "skep.api.cron",
    # What the platform tells.
    "ConfigChanged": "skep.api.tasks.platform_events",
    "GenerationCommitted": "skep.api.tasks.platform_events",
    "WorkerExited": "skep.api.tasks.platform_events",
    # WebSockets, and reaching them from anywhere.
    "WebSocketHandler": "skep.api.sockets.websocket",
    "Connection": "skep.api.sockets.websocket",
    "connection_of": "skep.api.sockets.websocket",
    "push": "skep.api.sockets.push",
    "push_sync": "skep.api.sockets.push",
    "broadcast": "skep.api.sockets.push",
    "disconnect": "skep.api.sockets.push",
    "presence": "skep.api.sockets.push",
    "connections": "skep.api.sockets.push",
    # Listeners of a plugin's own.
    "TcpListener": "skep.api.sockets.listeners",
    "UdpListener": "skep.api.sockets.listeners",
    "HttpListener": "skep.api.sockets.listeners",
    "TcpHandler": "skep.api.sockets.tcp",
    "TcpConnection": "skep.api.sockets.tcp",
    "UdpHandler": "skep.api.sockets.udp",
    "Packet": "skep.api.sockets.udp",
    "Lines": "skep.api.sockets.framing",
    "Delimited": "skep.api.sockets.framing",
    "LengthPrefixed": "skep.api.sockets.framing",
    "Chunks": "skep.api.sockets.framing",
    # Where the code runs.
    "Worker": "skep.api.worker",
}

__all__ = [
    "Backoff",
    "Chunks",
    "ConfigChanged",
    "Connection",
    "Context",
    "CronJob",
    "Delimited",
    "Discard",
    "EngineError",
    "Event",
    "GenerationCommitted",
    "Hooks",
    "HttpListener",
    "LengthPrefixed",
    "Lines",
    "Listener",
    "Live",
    "Packet",
    "Plugin",
    "QueueFull",
    "Receipt",
    "ReloadInfo",
    "Retry",
    "ServerInfo",
    "Settings",
    "StoreFull",
    "StoreUnavailable",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TcpConnection",
    "TcpHandler",
    "TcpListener",
    "Tick",
    "UdpHandler",
    "UdpListener",
    "WebSocketHandler",
    "Worker",
    "WorkerExited",
    "WorkerInfo",
    "broadcast",
    "connection_of",
    "connections",
    "cron",
    "disconnect",
    "gather",
    "on",
    "presence",
    "push",
    "push_sync",
    "task",
]


def __getattr__(name: str) -> Any:
    """Load a name of the author's API (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
