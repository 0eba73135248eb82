"""The start of a platform slot: agent, store and config server."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from skep.base.logs import log, logfile, masking
from skep.base.system import signals
from skep.base.system.title import set_title
from skep.wire.channel import CHANNEL_FD, BlockingChannel
from skep.wire.lifecycle import Lifecycle, Role
from skep.wire.messages import Boot, Message

_DRAIN = 2.0

Send = Callable[[Message], None]


def run(
    build: Callable[[Boot, Send], Role],
    frame: Callable[[], dict[str, Any] | None] = lambda: None,
    counters: int | None = None,
) -> int:
    """Read the Boot message, run, and return the exit code.

    `build(boot, send)` makes the role; `send` sends a message to the supervisor. `frame` returns
    metric deltas; `counters` is the descriptor of the page of counters.
    """
    signals.hold()
    signals.pass_over()
    channel = BlockingChannel(socket.socket(fileno=CHANNEL_FD))
    try:
        boot, _ = channel.receive()
    except EOFError:
        return 0
    assert isinstance(boot, Boot)
    set_title(boot.slot, boot.options["app_id"])
    logfile.follow(boot.options["log_file"])
    log.configure(boot.slot, level=boot.options["log_level"], style=boot.options["log_format"])
    masking.declare(boot.options["secret_names"])
    log.hide(os.environ)

    async def live() -> int:
        lifecycle = Lifecycle(frame, counters=counters)
        role = build(boot, lifecycle.send)
        return await lifecycle.run(role, *channel.detach(), drain_timeout=_DRAIN)

    return asyncio.run(live())
