"""What a client may cost: the limits of one web worker, and when patience with a client ends.

SILENT ──first byte──► HEAD ──its end──► BODY ──its end──► ANSWER ──answered──► IDLE
                         ▲                                                        │
                         └───────────────────────first byte───────────────────────┘
any of them ──refused──► LEAVING: the refusal is out, what still arrives is thrown away
"""

import resource
from dataclasses import dataclass
from enum import Enum

from skep.config.options.table import Options

# Descriptors that are not connections: the channel, the store, files, clients of plugins.
_RESERVED = 100
_MOST_DESCRIPTORS = 65536
# How long, and up to how many bytes, we still read from a refused client: a client that is cut off
# while it sends may never see the refusal.
LEAVE_SECONDS, LEAVE_BYTES = 2.0, 1024 * 1024


class ConnectionPhase(Enum):
    """What a connection waits for."""

    SILENT = "its first byte"
    HEAD = "the rest of a request's head"
    BODY = "the rest of a request's body"
    ANSWER = "the answer of the application"
    IDLE = "the next request"
    LEAVING = "the client to go"


# An attribute of a class costs thirty times what a global does, and a request asks ten times.
SILENT, HEAD, BODY, ANSWER, IDLE, LEAVING = ConnectionPhase


@dataclass(frozen=True)
class HttpLimits:
    """Sizes are in bytes, times in seconds. `connections` counts those of one worker."""

    head: int = 65536
    headers: int = 100
    body: int = 10 * 1024 * 1024
    connections: int = 10_000
    head_time: float = 10.0
    progress_time: float = 60.0
    idle_time: float = 5.0

    @classmethod
    def of(cls, options: Options) -> "HttpLimits":
        """Return the limits that are set, with at most as many connections as file descriptors."""
        return cls(
            head=options.max_header_size,
            headers=options.max_headers,
            body=options.max_body_size,
            connections=min(options.max_connections, _descriptors() - _RESERVED),
            head_time=options.header_timeout,
            progress_time=options.progress_timeout,
            idle_time=options.keep_alive,
        )

    def overdue(self, phase: ConnectionPhase, waited: float) -> bool:
        """Return whether a client in this phase, `waited` seconds without progress, must go."""
        match phase:
            case ConnectionPhase.SILENT | ConnectionPhase.HEAD:
                return waited > self.head_time
            case ConnectionPhase.BODY:
                return waited > self.progress_time
            case ConnectionPhase.IDLE:
                return waited > self.idle_time
            case ConnectionPhase.LEAVING:
                return waited > LEAVE_SECONDS
            case ConnectionPhase.ANSWER:
                return False


def _descriptors() -> int:
    """Raise the limit of file descriptors as far as the system permits; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        return ceiling
    return soft if soft != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
