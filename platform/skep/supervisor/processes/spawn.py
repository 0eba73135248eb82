"""Start a child: a fresh interpreter with a channel and nothing else of ours."""

import os
import signal
import socket
import sys
from collections.abc import Mapping

from skep.base.system.signals import HELD
from skep.wire.channel import CHANNEL_FD, pair

# Signals that children handle otherwise than the supervisor; they start with the default actions.
_RESET = (*HELD, signal.SIGCHLD, signal.SIGPIPE)


def spawn(module: str, name: str, environment: Mapping[str, str]) -> tuple[int, socket.socket]:
    """Start `python -P -m module name`; return its process id and our end of its channel.

    The child leads a session and process group of its own, so that a Ctrl-C reaches the supervisor
    alone and a kill reaches whatever the child starts. `-P` keeps the working directory off its
    path. Signals wait until it can handle them. `name` is there for `ps`; everything else comes
    through the channel. Raises OSError, for instance E2BIG when the environment is larger than the
    kernel takes, or EAGAIN when there are too many processes.
    """
    ours, theirs = pair()
    with theirs:
        try:
            return _start(module, name, theirs, environment), ours
        except OSError:
            ours.close()
            raise


def _start(module: str, name: str, channel: socket.socket, environment: Mapping[str, str]) -> int:
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", module, name],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, channel.fileno(), CHANNEL_FD),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ],
        setsid=True,
        setsigmask=HELD,
        setsigdef=_RESET,
    )
