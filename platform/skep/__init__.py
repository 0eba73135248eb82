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
    from skep.api.processes import Message, Process, ProcessContext, ReplyStream
    from skep.api.sockets import (
        Chunks,
        Delimited,
        HttpListener,
        LengthPrefixed,
        Lines,
        Packet,
        TcpConnection,
        TcpHandler,
        TcpListener,
        UdpHandler,
        UdpListener,
    )
    from skep.api.sockets.push import broadcast, connections, disconnect, presence, push, push_sync
    from skep.api.sockets.websocket import Connection, WebSocketHandler, connection_of
    from skep.api.tables import Atomic, AtomicFlag, Bytes, Str, Table, transaction
    from skep.api.tasks.context import Context
    from skep.api.tasks.decorators import on, task
    from skep.api.tasks.event import Event, Listener
    from skep.api.tasks.payload import Receipt, TaskCancelled, TaskFailed
    from skep.api.tasks.platform_events import ConfigChanged, GenerationCommitted, WorkerExited
    from skep.api.tasks.policy import Discard, Retry
    from skep.api.tasks.task import Task, gather
    from skep.api.worker import Worker
    from skep.base.backoff import Backoff
    from skep.base.errors import (
        EngineError,
        MessageInvalid,
        MessageTooLarge,
        ProcessBusy,
        ProcessDown,
        ProcessError,
        ProcessFailed,
        ProcessGone,
        ProcessTimeout,
        QueueFull,
        StoreFull,
        StoreUnavailable,
        TableError,
        TableFull,
    )
    from skep.config.env.settings import Live, Settings

_NAMES = {
    "skep.api.plugin": "Plugin",
    "skep.api.hooks": "Hooks ReloadInfo ServerInfo WorkerInfo",
    "skep.config.env.settings": "Settings Live",
    "skep.api.tasks.task": "Task gather",
    "skep.api.tasks.event": "Event Listener",
    "skep.api.tasks.decorators": "task on",
    "skep.api.tasks.payload": "Receipt TaskFailed TaskCancelled",
    "skep.api.tasks.context": "Context",
    "skep.api.tasks.policy": "Retry Discard",
    "skep.base.backoff": "Backoff",
    "skep.base.errors": "EngineError QueueFull StoreFull StoreUnavailable TableError TableFull "
    "ProcessError ProcessDown ProcessBusy ProcessGone ProcessTimeout ProcessFailed MessageInvalid "
    "MessageTooLarge",
    "skep.api.cron": "CronJob Tick cron",
    "skep.api.tasks.platform_events": "ConfigChanged GenerationCommitted WorkerExited",
    "skep.api.sockets.websocket": "WebSocketHandler Connection connection_of",
    "skep.api.sockets.push": "push push_sync broadcast disconnect presence connections",
    "skep.api.sockets": "TcpListener UdpListener HttpListener TcpHandler TcpConnection UdpHandler "
    "Packet Lines Delimited LengthPrefixed Chunks",
    "skep.api.worker": "Worker",
    "skep.api.processes": "Process ProcessContext Message ReplyStream",
    "skep.api.tables": "Atomic AtomicFlag Bytes Str Table transaction",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Atomic",
    "AtomicFlag",
    "Backoff",
    "Bytes",
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
    "Message",
    "MessageInvalid",
    "MessageTooLarge",
    "Packet",
    "Plugin",
    "Process",
    "ProcessBusy",
    "ProcessContext",
    "ProcessDown",
    "ProcessError",
    "ProcessFailed",
    "ProcessGone",
    "ProcessTimeout",
    "QueueFull",
    "Receipt",
    "ReloadInfo",
    "ReplyStream",
    "Retry",
    "ServerInfo",
    "Settings",
    "StoreFull",
    "StoreUnavailable",
    "Str",
    "Table",
    "TableError",
    "TableFull",
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
    "transaction",
]


def __getattr__(name: str) -> Any:
    """Load a name of the author's API (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
