"""Who asks on the control socket, for the command that answers."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from skep.base.sockets.peer import Peer


@dataclass(frozen=True)
class Caller:
    """One client and its question. `tell` sends it news before the answer; for who has not asked
    for news it does nothing."""

    peer: Peer
    tell: Callable[[Mapping[str, Any]], None]

    def __str__(self) -> str:
        return f"uid {self.peer.uid} (pid {self.peer.pid})"


_current: ContextVar[Caller] = ContextVar("skep_caller")


def enter(caller: Caller) -> None:
    """Answer for this caller from now on, in the current task and in those it starts."""
    _current.set(caller)


def current_caller() -> Caller | None:
    """Return who has asked; None outside a command."""
    return _current.get(None)
