"""The nursery: an interpreter that has imported the platform and no plugin, and forks zygotes.

What is forked here has nothing left to do but to load the plugins: to start an interpreter and to
import the libraries takes longer than most plugins. It is as good as a fresh one, and sees to that:
where a file it was made of is another by now, or the environment differs in what an interpreter or
an import has looked at, it becomes a fresh one in the same process.
"""

import os
import random
import sys
from collections.abc import Iterable, Mapping
from glob import escape, glob

from skep.base.system.title import set_title
from skep.wire.channel import CHANNEL_FD, BlockingChannel
from skep.wire.messages import Become, Boot, Hello, LoadFailed
from skep.wire.plan import Problem
from skep.worker.birth.forker import Forker
from skep.worker.loading.environ import Environ, install

Sources = dict[str, tuple[int, int]]


def leave(channel: BlockingChannel, boot: Boot) -> BlockingChannel:
    """Be the nursery; return in a zygote to be, with its channel."""
    set_title("nursery", boot.options["app_id"])
    sources = _sources()
    channel = BlockingChannel(Forker(channel).run().channel)
    os.setsid()
    random.seed()
    try:
        order, _ = channel.receive()
    except EOFError:
        os._exit(0)
    assert isinstance(order, Become)
    environ = install()
    values = _changes(environ, order.environment)
    fit = not any(environ.was_read(key) for key in values) and sources == _sources(sources)
    # Only now comes more on this channel: it is there for whoever this process is then.
    channel.send(Hello(os.getpid()))
    set_title("zygote", boot.options["app_id"])
    if not fit:
        _start_anew(channel, order.environment)
    environ.change(values)
    return channel


def _sources(files: Iterable[str] = ()) -> Sources:
    """Return time and size of the files of all modules, or of these files, and of those that say
    where else modules lie: an interpreter has read these too."""
    modules = list(sys.modules.values())
    files = set(files or filter(None, (getattr(module, "__file__", "") for module in modules)))
    found = {}
    for file in files.union(*(glob(f"{folder}/*.pth") for folder in map(escape, sys.path))):
        try:
            stat = os.stat(file)
        except OSError:
            found[file] = (0, 0)
        else:
            found[file] = (stat.st_mtime_ns, stat.st_size)
    return found


def _changes(environ: Environ, wanted: Mapping[str, str]) -> dict[str, str | None]:
    """Return what has to be set, or removed, to have the wanted environment."""
    there = environ.snapshot()
    values: dict[str, str | None] = dict.fromkeys(there.keys() - wanted.keys())
    return values | {key: value for key, value in wanted.items() if there.get(key) != value}


def _start_anew(channel: BlockingChannel, environment: Mapping[str, str]) -> None:
    os.dup2(channel.fileno(), CHANNEL_FD, inheritable=True)
    command = [sys.executable, "-P", "-m", "skep.worker", "zygote"]
    try:
        os.execve(sys.executable, command, environment)
    except OSError as error:  # E2BIG: the environment is larger than the kernel takes
        text = f"The zygote cannot be started: {error.strerror} (errno {error.errno})."
        channel.send(LoadFailed([Problem("load", text)]))
        os._exit(0)
