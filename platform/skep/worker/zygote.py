"""The zygote: loads everything once, says what it found, and forks workers on order.

It never starts an event loop and never runs a handler; it is single-threaded, so a fork of it is
safe. Its memory is frozen before the first fork, so that the collector of a worker does not write
to, and thereby copy, the pages all workers share.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.base import fingerprint
from skep.base.errors import PluginError
from skep.base.signals import HELD
from skep.base.title import set_title
from skep.config.options import Options
from skep.config.settings import Settings
from skep.wire.channel import CHANNEL_FD, BlockingChannel
from skep.wire.messages import Boot, Change, Changed, Exited, Fork, Message, Planned, Refused
from skep.wire.plan import Plan, Problem
from skep.worker import endpoints
from skep.worker.app import listing
from skep.worker.app import problems as app_problems
from skep.worker.catalog import Catalog
from skep.worker.changes import Changes, begin_epoch
from skep.worker.checks import check_settings
from skep.worker.environ import install
from skep.worker.loader import Loader


@dataclass
class Generation:
    """What a zygote has loaded; `changes` are its settings and how they change."""

    catalog: Catalog
    plan: Plan
    changes: Changes


@dataclass(frozen=True)
class Birth:
    """This process is a new worker, and this is its end of its channel."""

    channel: socket.socket


def load(boot: Boot) -> Generation | list[Problem]:
    """Load the plugins and check all that can be checked without serving."""
    started = time.perf_counter()
    environ = install()
    begin_epoch(environ)
    options = Options.from_json(boot.options)
    folders = [Path(folder) for folder in options.plugins]
    code = fingerprint.digest(folders)  # before: a file that changes meanwhile is a newer state
    loaded = Loader(folders).load()
    problems = [
        *loaded.problems,
        *app_problems(loaded.plugins, options),
        *endpoints.problems(loaded.plugins, options),
        *check_settings(loaded.plugins),
    ]
    if problems:
        return problems
    try:
        catalog = Catalog.collect(loaded.plugins)
    except PluginError as error:
        return [Problem("load", str(error), error.plugin)]
    classes = [cls for plugin in loaded.plugins.values() for cls in plugin.settings]
    live, fixed = _keys(classes)
    unforkable = "PLATFORM_START_METHOD is spawn" if options.start_method == "spawn" else ""
    plan = Plan(
        kinds=_kinds(catalog),
        plugins=tuple(catalog.plugins),
        routes=tuple(listing(loaded.plugins)),
        tasks=tuple(catalog.tasks),
        listeners=tuple(_listeners(catalog)),
        crons=tuple(catalog.crons),
        hooks=tuple(sorted({h for p in catalog.plugins.values() for h in p.hooks.declared()})),
        endpoints=tuple(endpoints.endpoints(loaded.plugins)),
        live=tuple(sorted(live)),
        fixed=tuple(sorted(fixed)),
        code=code,
        unforkable=unforkable or loaded.unforkable,
        seconds=round(time.perf_counter() - started, 3),
    )
    return Generation(catalog, plan, Changes(classes, environ))


class Zygote:
    """Takes orders on a channel until it ends; `run` returns in the child of a fork only."""

    def __init__(self, channel: BlockingChannel, generation: Generation) -> None:
        self._channel = channel
        self._plan = generation.plan
        self._changes = generation.changes

    @classmethod
    def answer(cls, channel: BlockingChannel, found: Generation | list[Problem]) -> None:
        """Send the plan; with problems instead there is nothing more to do in this process."""
        if isinstance(found, Generation):
            channel.send(Planned(found.plan))
            return
        channel.send(Refused(found))
        sys.exit(0)

    def run(self) -> Birth:
        """Fork on order. The end of the channel ends the process: the supervisor is gone."""
        gc.collect()
        gc.freeze()
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wakeup_write)
        with selectors.PollSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(wakeup_read, selectors.EVENT_READ)
            self._reap()
            birth = self._serve(selector, wakeup_read)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(wakeup_read)
        os.close(wakeup_write)
        self._channel.close()
        return birth

    def _serve(self, selector: selectors.BaseSelector, wakeup: int) -> Birth:
        if birth := self._obey(self._channel.received()):
            return birth
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wakeup in ready:
                _empty(wakeup)
                self._reap()
            if self._channel.fileno() in ready and (birth := self._obey(self._read())):
                return birth

    def _read(self) -> list[tuple[Message, list[int]]]:
        try:
            return self._channel.read()
        except EOFError:
            os._exit(0)  # not sys.exit: no plugin's exit hook may run in a process without a loop

    def _obey(self, orders: list[tuple[Message, list[int]]]) -> Birth | None:
        forks = []
        for order, descriptors in orders:
            if isinstance(order, Change):
                self._change(order)
            elif isinstance(order, Fork):
                forks.append((order.slot, socket.socket(fileno=descriptors[0])))
        return self._fork(forks)

    def _fork(self, forks: list[tuple[str, socket.socket]]) -> Birth | None:
        """Give birth; in the child, let go of the channels of its siblings."""
        for slot, channel in forks:
            if self._plan.unforkable:
                _spawn(slot, channel, self._changes.environment())
            elif os.fork() == 0:
                for _, other in forks:
                    if other is not channel:
                        other.close()
                return Birth(channel)
            channel.close()
        return None

    def _change(self, change: Change) -> None:
        """Take other values for the workers that are still to be forked. No callback of a plugin is
        called: nothing runs here."""
        objection = self._changes.objection(change.values)
        if change.apply and not objection:
            self._changes.take(change.values)
        self._channel.send(Changed(change.number, change.apply, objection))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._channel.send(Exited(pid, status))


def _spawn(slot: str, channel: socket.socket, environment: Mapping[str, str]) -> None:
    """Start a worker that loads for itself, because a fork of this process would not be safe."""
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "skep.worker", slot],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, channel.fileno(), CHANNEL_FD)],
        setsid=True,
        setsigmask=HELD,
    )


def _kinds(catalog: Catalog) -> tuple[str, ...]:
    kinds = ["web"]
    if catalog.tasks or catalog.listeners:
        kinds.append("task")
    if catalog.crons:
        kinds.append("cron")
    return tuple(kinds)


def _keys(classes: Iterable[type[Settings]]) -> tuple[set[str], set[str]]:
    """The keys that are live in every class that reads them, and the others."""
    live: set[str] = set()
    fixed: set[str] = set()
    for cls in classes:
        for key, is_live in cls.environment_keys().items():
            (live if is_live else fixed).add(key)
    return live - fixed, fixed


def _listeners(catalog: Catalog) -> list[str]:
    return [
        f"{event} → {listener.__name__}"
        for event, listeners in catalog.listeners.items()
        for listener in listeners
    ]


def _empty(descriptor: int) -> None:
    while True:
        try:
            if not os.read(descriptor, 4096):
                return
        except BlockingIOError:
            return


def _ignore(*_: object) -> None:
    """Handle SIGCHLD by waking the selector, which the wakeup descriptor does."""


def name_zygote(boot: Boot, *, understudy: bool) -> None:
    """Tell `ps` who this is."""
    set_title(f"zygote@{boot.generation}", boot.options["app_id"] + " (understudy)" * understudy)
