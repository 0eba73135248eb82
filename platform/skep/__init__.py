"""skep: resident Python workers that follow a config service.

What plugin authors need is here and nowhere else. The names are loaded when they are used: the
supervisor lives in this package too and must not load what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skep.api.context import Context
    from skep.api.cron import CronJob, Tick, cron
    from skep.api.event import Event, Listener
    from skep.api.framing import Chunks, Delimited, LengthPrefixed, Lines
    from skep.api.function import on, task
    from skep.api.hooks import Hooks, ReloadInfo, ServerInfo, WorkerInfo
    from skep.api.packets import Packet, UdpHandler
    from skep.api.platform_events import ConfigChanged, GenerationCommitted, WorkerExited
    from skep.api.plugin import Plugin
    from skep.api.policy import Discard, Retry
    from skep.api.push import broadcast, connections, disconnect, presence, push, push_sync
    from skep.api.receipt import Receipt, TaskCancelled, TaskFailed, gather
    from skep.api.sockets import HttpListener, TcpListener, UdpListener
    from skep.api.streams import TcpConnection, TcpHandler
    from skep.api.task import Task
    from skep.api.websocket import Connection, WebSocketHandler, connection_of
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
    "Task": "skep.api.task",
    "Event": "skep.api.event",
    "Listener": "skep.api.event",
    "task": "skep.api.function",
    "on": "skep.api.function",
    "Receipt": "skep.api.receipt",
    "gather": "skep.api.receipt",
    "TaskFailed": "skep.api.receipt",
    "TaskCancelled": "skep.api.receipt",
    "Context": "skep.api.context",
    "Retry": "skep.api.policy",
    "Discard": "skep.api.policy",
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
    "ConfigChanged": "skep.api.platform_events",
    "GenerationCommitted": "skep.api.platform_events",
    "WorkerExited": "skep.api.platform_events",
    # WebSockets, and reaching them from anywhere.
    "WebSocketHandler": "skep.api.websocket",
    "Connection": "skep.api.websocket",
    "connection_of": "skep.api.websocket",
    "push": "skep.api.push",
    "push_sync": "skep.api.push",
    "broadcast": "skep.api.push",
    "disconnect": "skep.api.push",
    "presence": "skep.api.push",
    "connections": "skep.api.push",
    # Listeners of a plugin's own.
    "TcpListener": "skep.api.sockets",
    "UdpListener": "skep.api.sockets",
    "HttpListener": "skep.api.sockets",
    "TcpHandler": "skep.api.streams",
    "TcpConnection": "skep.api.streams",
    "UdpHandler": "skep.api.packets",
    "Packet": "skep.api.packets",
    "Lines": "skep.api.framing",
    "Delimited": "skep.api.framing",
    "LengthPrefixed": "skep.api.framing",
    "Chunks": "skep.api.framing",
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
