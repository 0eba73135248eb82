"""Reach WebSockets from anywhere: from any worker, task, cron, process or script of the platform.

The caller does not know which worker holds a connection, so all are asked. No call waits for a
client: a client that reads too slowly to take what is pushed is closed with 1013 and does not
count.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Any

from skep.api.sockets.websocket import frame
from skep.base.errors import PlatformError
from skep.base.rundir import RunDir
from skep.engine import binding
from skep.wire.mesh import LONGEST, Command, Mesh

if TYPE_CHECKING:
    from skep.wire.mesh import MeshAnswer, Op

# RFC 6455, 5.5: a control frame carries 125 bytes, and the code takes two of them.
_LONGEST_REASON = 123
# Less than a frame of the mesh may have, because the command around the message needs room too.
_LARGEST_MESSAGE = LONGEST - 64 * 1024

# A mesh holds connections, which belong to an event loop and are gone with it.
_meshes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mesh] = weakref.WeakKeyDictionary()


async def push(
    data: Any, *, user: str | None = None, room: str | None = None, connection: str | None = None
) -> int:
    """Send a message to the WebSockets of a user, in a room, or to one; return how many got it.

    Text is sent as text and bytes as bytes, anything else as JSON. What is pushed from one place
    arrives in order. Raises PlatformError unless exactly one target is given, TypeError or
    ValueError for data that JSON cannot carry or that is too large.
    """
    target = _target(user=user, room=room, connection=connection)
    return (await _ask("push", **target, **_payload(data))).count


def push_sync(
    data: Any, *, user: str | None = None, room: str | None = None, connection: str | None = None
) -> int:
    """The same from a thread, as handlers that are plain functions run in, or from a script.

    Raises EngineError in a coroutine of a worker, where `push` is to be awaited.
    """
    pushing = push(data, user=user, room=room, connection=connection)
    if binding.is_bound():
        return binding.current().wait_for(pushing)
    return asyncio.run(pushing)


async def broadcast(data: Any) -> int:
    """Send a message to every WebSocket; return how many got it."""
    return (await _ask("push", **_payload(data))).count


async def disconnect(
    *,
    user: str | None = None,
    room: str | None = None,
    connection: str | None = None,
    code: int = 1000,
    reason: str = "",
) -> int:
    """Close the WebSockets of a user, in a room, or one; return how many.

    `code` is 1000 or from 3000 to 4999, and `reason` has at most 123 bytes, as RFC 6455 has it.
    Raises PlatformError otherwise.
    """
    if type(code) is not int or (code != 1000 and not 3000 <= code <= 4999):
        raise PlatformError(
            f"A WebSocket cannot be closed with {code!r}: code must be 1000 or from 3000 to 4999."
        )
    if not isinstance(reason, str) or len(reason.encode()) > _LONGEST_REASON:
        raise PlatformError(
            f"A WebSocket cannot be closed with the reason {reason!r}: it must be a text of at "
            f"most {_LONGEST_REASON} bytes."
        )
    target = _target(user=user, room=room, connection=connection)
    return (await _ask("kick", **target, code=code, reason=reason)).count


async def presence(
    *, user: str | None = None, room: str | None = None, connection: str | None = None
) -> list[dict[str, Any]]:
    """Return who is there: of each WebSocket its `id`, `user`, `rooms`, `path`, `client`, `since`
    (Unix time) and `worker`. Without a target, all of them."""
    given = any(target is not None for target in (user, room, connection))
    target = _target(user=user, room=room, connection=connection) if given else {}
    return (await _ask("list", **target)).rows


async def connections(listener: str = "") -> list[dict[str, Any]]:
    """Return every open connection, or those of one listener (`http`, `echo.lines`)."""
    if not isinstance(listener, str):
        raise TypeError(f"listener is {listener!r}: it must be a text.")
    return (await _ask("sockets", listener=listener)).rows


async def _ask(op: Op, **fields: Any) -> MeshAnswer:
    loop = asyncio.get_running_loop()
    if (mesh := _meshes.get(loop)) is None:
        mesh = _meshes[loop] = Mesh(RunDir(_data_dir()).mesh_dir)
    return await mesh.ask(Command(op, **fields))


def _data_dir() -> str:
    try:
        return os.environ["PLATFORM_DATA_DIR"]
    except KeyError:
        text = "push() works in the processes of a platform; elsewhere set PLATFORM_DATA_DIR."
        raise PlatformError(text) from None


def _target(**targets: str | None) -> dict[str, str]:
    given = {name: str(value) for name, value in targets.items() if value is not None}
    if len(given) != 1:
        raise PlatformError("Give exactly one of user=, room=, connection=.")
    return given


def _payload(data: Any) -> dict[str, str | bytes]:
    content = frame(data)
    size = len(content) if isinstance(content, bytes) else len(content.encode())
    if size > _LARGEST_MESSAGE:
        raise ValueError(f"The message has {size} bytes, and {_LARGEST_MESSAGE} is the most.")
    return {"text": content} if isinstance(content, str) else {"data": content}
