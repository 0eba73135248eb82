"""The nursery: an interpreter that has imported the platform and no plugin, and forks zygotes.

A process forked here only has to load the plugins: to start an interpreter and import the libraries
takes longer than most plugins do. It must be as good as a fresh one. If a file it was made of has
changed, or the environment differs in what an interpreter or an import has read, it replaces itself
with a fresh interpreter in the same process.
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


def leave(channel: BlockingChannel, boot: Boot) -> BlockingChannel:
    """Be the nursery; return in a future zygote, with its channel."""
    set_title("nursery", boot.options["app_id"])
    sources = _sources()
    channel = BlockingChannel(Forker(channel).run())
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
    # The supervisor sends more only after this, to whichever process this is by then.
    channel.send(Hello(os.getpid()))
    set_title("zygote", boot.options["app_id"])
    if not fit:
        _start_afresh(channel, order.environment)
    environ.change(values)
    return channel


def _sources(files: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    """Return time and size of these files, or of the files of all modules, and of the `.pth` files,
    which an interpreter reads too."""
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
    """Return what to set or remove (None) to reach the wanted environment."""
    there = environ.snapshot()
    values: dict[str, str | None] = dict.fromkeys(there.keys() - wanted.keys())
    return values | {key: value for key, value in wanted.items() if there.get(key) != value}


def _start_afresh(channel: BlockingChannel, environment: Mapping[str, str]) -> None:
    os.dup2(channel.fileno(), CHANNEL_FD, inheritable=True)
    command = [sys.executable, "-P", "-m", "skep.worker", "zygote"]
    try:
        os.execve(sys.executable, command, environment)
    except OSError as error:  # E2BIG: the environment is larger than the kernel takes
        text = f"The zygote cannot be started: {error.strerror} (errno {error.errno})."
        channel.send(LoadFailed([Problem("load", text)]))
        os._exit(0)
