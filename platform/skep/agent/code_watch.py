"""Watches the code and asks for a rollout when it has changed.

Only a change of content counts, not a new time or the same text, nor what the platform's own
workers write (`own_writes.py`). The supervisor's gate waits for quiet: the whole change follows a
half-written one before the gate opens.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path

from watchfiles import Change, awatch

from skep.base.backoff import Backoff
from skep.base.files import fingerprint, own_writes
from skep.base.files.fingerprint import Sources, States
from skep.base.telemetry import Telemetry
from skep.wire.messages import RolloutAsked
from skep.wire.plan import Problem

# The gate batches; this only keeps one save from being reported in two halves.
_STEP_MS = 30
# Without an event: the first look, for what came while the watch was being set up, and how many
# such pauses are between the later ones, for inotify loses events when its queue overflows.
_PAUSE_MS, _PAUSES = 1000, 30
# This many changes, each this soon after the one before, are free.
FREE = 5
SOON = 10.0
# How long a file must be calm the first time, and at most.
CALM, LONGEST = 2.0, 600.0

_OWN = (
    "%s is written by the platform's own workers: it is data, and a change of it rolls out nothing"
)
_HELD = (
    "%s changes again and again: it rolls out with growing delays; if a plugin has it written, "
    "name it in PLATFORM_WATCH_EXCLUDE"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Restless:
    strikes: int = 0
    latest: float = float("-inf")
    held: bool = False

    @property
    def calm_at(self) -> float:
        """When it will have been calm for long enough."""
        wait: float = CALM * 2.0 ** min(self.strikes - FREE, 32)
        return self.latest + min(LONGEST, wait)


class Brake:
    """Slows down files that change again and again, one soon after another. Pure but for
    its memory.

    The writes of a plugin's own processes are known (`base/files/own_writes.py`), but not those of
    programs they start, which would cause rollouts without end. So a file that changes more often
    than people save it is held until it has been calm for a while, longer each time. Times are
    seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._files: dict[str, _Restless] = {}

    def admit(self, changed: Set[str], now: float) -> set[str]:
        """Return the changes that count now, with held ones that have become calm."""
        for path in changed:
            self._files[path] = _changed(self._files.get(path, _Restless()), now)
        calm = {p for p, f in self._files.items() if f.held and f.calm_at <= now}
        for path in calm:
            self._files[path] = replace(self._files[path], latest=now, held=False)
        return calm | {path for path in changed if not self._files[path].held}

    def held(self) -> set[str]:
        """Return the files with a held change."""
        return {path for path, file in self._files.items() if file.held}


class CodeWatch:
    """Watches the code; `ask` takes the request for a rollout.

    `plugins` are the folders whose Python files have to compile, `noted` is the file in which
    workers note what they write.
    """

    def __init__(
        self,
        sources: Sources,
        plugins: Iterable[Path],
        noted: Path,
        ask: Callable[[RolloutAsked], None],
        telemetry: Telemetry,
    ) -> None:
        self._sources = sources
        self._plugins = list(plugins)
        self._noted = noted
        self._ask = ask
        self._telemetry = telemetry
        self._known: States | None = None
        self._explained: set[str] = set()
        self._brake = Brake()
        self._backoff = Backoff()

    async def run(self) -> None:
        """Watch for ever. The present state is asked for at once, so that a change between the
        loading of the generation and the first event is not missed."""
        self._look()
        failures = 0
        while True:
            try:
                await self._watch()
                failures = 0
            except (OSError, RuntimeError, ExceptionGroup) as error:
                # A file name that is not UTF-8, or more folders than the kernel can watch.
                cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                failures += 1
                self._telemetry.point("watch.error", reason=type(cause).__name__)
                log.warning("watching the code failed (%s); trying again", cause)
                await asyncio.sleep(self._backoff.delay(failures))
                self._look()

    async def _watch(self) -> None:
        """Watch until a directory appears or disappears.

        Each directory is watched alone: a watch of a whole tree would also wake up for writes to
        the data directory, or to a virtual environment, below it.
        """
        watched, pauses, is_polling = self._directories(), 0, must_poll()
        self._telemetry.point("watch.backend", backend="polling", used=int(is_polling))
        self._telemetry.point("watch.backend", backend="inotify", used=int(not is_polling))
        changes = awatch(
            *watched,
            watch_filter=self._counts,
            debounce=_STEP_MS * 4,
            step=_STEP_MS,
            rust_timeout=_PAUSE_MS,
            yield_on_timeout=True,
            recursive=False,
            force_polling=is_polling,
        )
        async for batch in changes:
            pauses += not batch
            if batch or pauses % _PAUSES == 1 or self._brake.held():
                self._look()
                if watched != self._directories():
                    return

    def _directories(self) -> set[Path]:
        """Return the directories to watch, with links resolved; for a missing one its parent."""
        parents = {
            root.parent.resolve()
            for root in self._sources.roots()
            if not root.is_dir() and root.parent.is_dir()
        }
        return {path for path in self._sources.directories() if path.is_dir()} | parents

    def _counts(self, change: Change, path: str) -> bool:
        is_code = self._sources.may_be_code(path)
        self._telemetry.point("watch.event", kind="code" if is_code else "ignored")
        return is_code

    def _look(self) -> None:
        written, states = own_writes.read(self._noted), self._sources.states()
        is_first, known = self._known is None, self._known or {}
        self._known = states
        changed = {path for path in known | states if known.get(path) != states.get(path)}
        own = {path for path in changed if os.path.realpath(path) in written}
        counted = set() if is_first else self._brake.admit(changed - own, time.monotonic())
        self._explain(own, self._brake.held())
        if is_first or counted:
            code = fingerprint.digest(states, without=written)
            names = [(states.get(path) or known.get(path, (b"", b"")))[0] for path in counted]
            reason = _summary(map(os.fsdecode, names)) if names else ""
            self._ask(
                RolloutAsked("code", reason, code=code, problems=syntax_errors(self._plugins))
            )

    def _explain(self, own: set[str], held: set[str]) -> None:
        for paths, text in ((own, _OWN), (held, _HELD)):
            for path in sorted(paths - self._explained):
                log.warning(text, path)
        self._explained |= own | held


def must_poll() -> bool:
    """Return whether files must be looked at again and again: the user says so, or this is
    Windows' Linux, where changes from the Windows side cause no event."""
    if wish := os.environ.get("WATCHFILES_FORCE_POLLING"):
        return wish.lower() not in ("false", "disable", "disabled")
    return "microsoft-standard" in os.uname().release


def _changed(file: _Restless, now: float) -> _Restless:
    if file.held:  # part of the same change until it is calm
        return replace(file, latest=now)
    strikes = file.strikes + 1 if now - file.latest < SOON else file.strikes // 2
    return _Restless(strikes, now, held=strikes >= FREE)


def syntax_errors(folders: Iterable[Path]) -> list[Problem]:
    """Return a problem for each Python file that does not compile; nothing is executed."""
    problems = []
    for folder in folders:
        for path in Sources((folder,)).files(folder):
            if path.suffix == ".py" and (problem := _compile(path, folder)):
                problems.append(problem)
    return problems


def _compile(path: Path, folder: Path) -> Problem | None:
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        plugin = path.relative_to(folder).parts[0].removesuffix(".py")
        line = getattr(error, "lineno", 0) or 0
        text = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        return Problem("load", text, plugin, str(path), line)
    except OSError:
        return None  # it has just been deleted; the next event shows that
    return None


def _summary(changed: Iterable[str]) -> str:
    """Name what changed: `orders/__init__.py`, or the first of several."""
    names = sorted(set(changed))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
