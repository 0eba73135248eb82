"""The duty that watches the plugin folders and asks for a rollout when their code has changed.

What changed is told by content, not by time: a file that was touched, or saved with the same text,
asks for nothing. Quiet times are the supervisor's gate's business; a half-written state that is
reported here is overtaken by the whole one before the gate opens.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from watchfiles import Change, awatch

from skep.base import fingerprint
from skep.base.backoff import Backoff
from skep.base.telemetry import Telemetry
from skep.wire.messages import Asked
from skep.wire.plan import Problem

# Batching belongs to the gate; this only keeps one save from being reported in two halves.
_STEP_MS = 30
# inotify loses events when its queue overflows, without a word: look anyway now and then (seconds).
_LOOK_ANYWAY = 30.0

log = logging.getLogger(__name__)


class CodeWatch:
    """Watches folders; `ask` takes the request for a rollout."""

    def __init__(
        self, folders: Sequence[Path], ask: Callable[[Asked], None], telemetry: Telemetry
    ) -> None:
        self._folders = [folder.absolute() for folder in folders]
        self._ask = ask
        self._telemetry = telemetry
        self._known = ""
        self._backoff = Backoff()

    async def run(self) -> None:
        """Watch for ever. What the generation in service was loaded from is asked for at once, so
        that a change between its loading and the first event is not missed."""
        self._look("")
        failures = 0
        while True:
            try:
                await self._watch()
                failures = 0
            except (OSError, RuntimeError, ExceptionGroup) as error:
                # A file name that is no UTF-8, or more folders than the kernel watches for us.
                cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                failures += 1
                self._telemetry.point("watch.error", reason=type(cause).__name__)
                log.warning("watching the plugin folders failed (%s); trying again", cause)
                await asyncio.sleep(self._backoff.delay(failures))
                self._look("the files were read again")

    async def _watch(self) -> None:
        """Watch until a folder has vanished or come, and look at everything once more then."""
        existing = self._existing()
        parents = {folder.parent for folder in self._folders if not folder.is_dir()}
        watched = [*existing, *(parent for parent in parents if parent.is_dir())]
        changes = awatch(
            *watched,
            watch_filter=self._counts,
            debounce=_STEP_MS * 4,
            step=_STEP_MS,
            rust_timeout=int(_LOOK_ANYWAY * 1000),
            yield_on_timeout=True,
            recursive=bool(existing) and not parents,
        )
        async for batch in changes:
            self._look(_summary(batch, existing))
            if existing != self._existing():
                return

    def _existing(self) -> list[Path]:
        """Return where the folders lie that are there: what a link leads to may be another now."""
        return [folder.resolve() for folder in self._folders if folder.is_dir()]

    def _counts(self, change: Change, path: str) -> bool:
        file = Path(path)
        hidden = not fingerprint.counts(file.name) or bool(
            fingerprint.IGNORED_DIRECTORIES & set(file.parts)
        )
        self._telemetry.point("watch.event", kind="ignored" if hidden else "code")
        return not hidden

    def _look(self, reason: str) -> None:
        digest = fingerprint.digest(self._folders)
        if digest == self._known:
            return
        self._known = digest
        self._ask(Asked("code", reason, code=digest, problems=syntax_errors(self._folders)))


def syntax_errors(folders: Iterable[Path]) -> list[Problem]:
    """Return a problem for each Python file that does not compile; nothing is executed."""
    problems = []
    for folder in folders:
        for path in fingerprint.files(folder):
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
        return None  # it has just been deleted; the next event tells
    return None


def _summary(batch: set[tuple[Change, str]], folders: Sequence[Path]) -> str:
    """Name what changed: `orders/__init__.py`, or the first of several."""
    names = sorted({_short(Path(path), folders) for _, path in batch})
    if not names:
        return "a look at the files"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _short(path: Path, folders: Sequence[Path]) -> str:
    for folder in folders:
        if path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return path.name
