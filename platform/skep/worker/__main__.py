"""`python -P -m skep.worker`: a zygote, or a worker that loads for itself."""

from skep.base.system import signals

# First of all: a signal that arrives before there are handlers must not end the process. In the
# zygote TERM and QUIT wait for ever: it is the supervisor who ends it.
signals.hold()
signals.pass_over()

# It copies the whole environment when it is imported, for servers that nobody starts here.
import wsgiref.handlers  # noqa: E402, F401

from skep.worker.loading.environ import install  # noqa: E402

# Before anything else is imported, to know what was looked at.
install()

# Before any plugin is imported, which may fork.
from skep.worker import fork_guard  # noqa: E402

fork_guard.watch()

import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from importlib.util import find_spec  # noqa: E402

from skep.wire.channel import CHANNEL_FD, BlockingChannel  # noqa: E402
from skep.worker.boot import begin  # noqa: E402

# A process that `multiprocessing` spawns first runs what its parent's `__main__` says it is.
__spec__ = find_spec("skep.worker.loading.spawned")

if __name__ == "__main__":
    code = begin(BlockingChannel(socket.socket(fileno=CHANNEL_FD)))
    sys.stdout.flush()
    logging.shutdown()
    # Not sys.exit: it would wait for threads, and a handler that hangs in one cannot be cut off.
    # What a plugin has to tidy up it does in its lifespan.
    os._exit(code)
