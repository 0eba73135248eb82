"""Load the plugins of one state of the code, once, in a fresh interpreter.

Plugins are `plugins.<name>` below a synthetic parent package whose path is the plugin folders. The
folders are never on `sys.path`, so a plugin may have any name, even `queue` or `platform`.

The project is the folder in which the platform was started. It is the last on the path, so that
nothing in it can stand in for a library. Its modules keep their names: `shop.prices`, not
`plugins.…`.
"""

import importlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Self

from skep.api.checks.fields import explanation, faults, shown
from skep.api.plugin import Plugin
from skep.base.errors import DeclarationError, PluginError
from skep.base.files import fingerprint, own_writes
from skep.base.files.fingerprint import IGNORED_DIRECTORIES
from skep.base.logs.log import traceback_text
from skep.base.rundir import RunDir
from skep.config.options.sources import project, sources
from skep.config.options.table import Options
from skep.wire.plan import LONGEST_TRACE, Problem
from skep.worker.loading import metric_names

PACKAGE = "plugins"
ENTRY_POINTS = "skep.plugins"
# The environment variable that shows processes of a plugin where the plugins are.
FOLDERS = "SKEP_PLUGIN_FOLDERS"
# The default plugin folder; it need not exist.
_DEFAULT = Path("plugins")
_LIBRARIES = frozenset({"site-packages", "dist-packages"})

log = logging.getLogger(__name__)


class Loader:
    """Loads what lies in the plugin folders and what is installed as a plugin: `plugins` by name,
    the `problems` of others, and why a fork of this process would not be safe, if so."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._missing = [f for f in folders if f != _DEFAULT and not f.is_dir()]
        self.plugins: dict[str, Plugin] = {}
        self.problems: list[Problem] = []
        self.unforkable = ""

    def load(self) -> Self:
        """Import every plugin; one that fails is a problem, and the others still load."""
        install_parent(self._folders)
        for folder in self._missing:
            text = f"The plugin folder {folder} does not exist."
            self.problems.append(Problem("load", text))
        for name, path in sorted(self._found()):
            self._try(name, str(path), partial(importlib.import_module, f"{PACKAGE}.{name}"))
        for point in entry_points(group=ENTRY_POINTS):
            self._try(point.name, "", point.load)
        return self

    def _found(self) -> list[tuple[str, Path]]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            for name, path in _plugins_in(folder):
                if name in found:
                    text = f"There are two plugins called {name}: {found[name]} and {path}."
                    self.problems.append(Problem("load", text, name, str(path)))
                found.setdefault(name, path)
        return list(found.items())

    def _try(self, name: str, file: str, load: Callable[[], object]) -> None:
        before, measured = _unforkable(), metric_names.registered()
        try:
            thing = _loaded_once(load)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is reported
            self.problems.extend(self._explain(name, file, error))
            return
        plugin = getattr(thing, "plugin", None) if isinstance(thing, ModuleType) else thing
        if not isinstance(plugin, Plugin):
            text = "It has no `plugin = Plugin(...)`; every plugin declares itself with one."
            if plugin is not None:
                text = f"Its `plugin` is {shown(plugin)}; write `plugin = Plugin(...)`."
            self.problems.append(Problem("load", text, name, file))
            return
        # Again: a module may add to its lists, or to its tasks, after it has made its Plugin.
        if found := faults(plugin):
            self.problems.extend(Problem("load", text, name, file) for text in found)
            return
        if taken := metric_names.registered() - measured:
            texts = metric_names.complaints(taken)
            self.problems.extend(Problem("load", text, name, file) for text in texts)
            return
        self.plugins[name] = plugin
        if growth := [what for what, count in _unforkable().items() if count > before[what]]:
            self.unforkable = f"plugin {name} {growth[0]} while it was imported"

    def _explain(self, plugin: str, file: str, error: BaseException) -> list[Problem]:
        trace = traceback_text(error, LONGEST_TRACE)
        if isinstance(error, SyntaxError) and error.filename:
            text = f"{type(error).__name__}: {error.msg}"
            return [Problem("load", text, plugin, error.filename, error.lineno or 0, trace)]
        line = 0
        for frame in traceback.extract_tb(error.__traceback__):
            if any(Path(frame.filename).is_relative_to(folder) for folder in self._folders):
                file, line = frame.filename, frame.lineno or 0
        if isinstance(error, PluginError):
            # Its sentences say everything, so a traceback would only hide them.
            file, line = error.file or file, error.line or line
            texts = error.faults if isinstance(error, DeclarationError) else (str(error),)
            return [Problem("load", text, plugin, file, line) for text in texts]
        if taken := metric_names.reserved(getattr(error, "duplicates", ())):
            said = metric_names.complaints(taken)
            return [Problem("load", text, plugin, file, line) for text in said]
        if text := explanation(error):
            return [Problem("load", text, plugin, file, line)]
        text = f"{type(error).__name__}: {error}"
        return [Problem("load", text, plugin, file, line, trace)]


def _loaded_once(load: Callable[[], object]) -> object:
    """Load in this process only. A fork of the plugin's that returns from the import would be a
    second zygote on the same channel."""
    process = os.getpid()
    try:
        return load()
    finally:
        if os.getpid() != process:
            log.error(
                "A plugin has forked while it was imported, and the child returned from the import."
            )
            os._exit(os.EX_SOFTWARE)


def _plugins_in(folder: Path) -> list[tuple[str, Path]]:
    if not folder.is_dir():
        return []
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        if entry.suffix == ".py" and entry.is_file():
            found.append((entry.stem, entry))
        elif (entry / "__init__.py").is_file():
            found.append((entry.name, entry / "__init__.py"))
    return found


class UncachedLoader(SourceFileLoader):
    """Compiles the source every time. A cached file is stale by size and second of the write, and
    developers save twice within a second."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


_LOADERS = (ExtensionFileLoader, EXTENSION_SUFFIXES), (UncachedLoader, SOURCE_SUFFIXES)


class _PluginFinder:
    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{PACKAGE}."):
            return None
        for folder in path or ():
            spec = FileFinder(folder, *_LOADERS).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None


def install_parent(folders: Sequence[Path]) -> None:
    """Make `plugins.<name>` importable in this process."""
    parent = ModuleType(PACKAGE, "The plugins of this generation.")
    parent.__path__ = [str(folder) for folder in folders]
    sys.modules[PACKAGE] = parent
    if _PluginFinder not in sys.meta_path:
        sys.meta_path.insert(0, _PluginFinder)


def _unforkable() -> dict[str, int]:
    """Count what a fork would break: threads do not survive it, sockets would be shared."""
    if not Path("/proc/self/fd").is_dir():
        return {"started a thread": threading.active_count(), "opened a socket": 0}
    sockets = 0
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of the listing itself
            sockets += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return {"started a thread": len(os.listdir("/proc/self/task")), "opened a socket": sockets}


@dataclass(frozen=True)
class CodeState:
    """The files of the code before it was loaded; the file `noted` lists those that this process
    writes itself while it loads."""

    states: fingerprint.States
    noted: Path

    @classmethod
    def take(cls, options: Options, run_id: str) -> "CodeState":
        """Read the state of the code and prepare its import: make the project importable and, if
        the code is watched, start to note what this process writes there."""
        code = sources(options)
        noted = RunDir(options.data_dir).own_writes(run_id)
        if folder := project(options):
            make_importable(folder, fresh=options.watch)
        if options.watch and run_id:
            own_writes.note([*code.folders, *([code.project] if code.project else [])], noted)
        return cls(code.states(), noted)

    def digest(self) -> str:
        """Return the digest of the code without what this process has written itself."""
        return fingerprint.digest(self.states, without=own_writes.read(self.noted))


def make_importable(folder: Path, *, fresh: bool) -> None:
    """Make a folder importable for plugins. If `fresh`, always compile: watched code may change
    twice within a second, which a cached file does not show."""
    text = str(folder)
    if text in sys.path:
        return
    libraries = [Path(entry) for entry in sys.path if entry]
    sys.path.append(text)
    if not fresh:
        return

    def finder(entry: str) -> FileFinder:
        path = Path(entry)
        if not path.is_relative_to(folder) or _is_library(path, folder, libraries):
            raise ImportError(f"{entry} is not a part of the project")
        return FileFinder(entry, *_LOADERS)

    sys.path_hooks.insert(0, finder)
    for entry in [entry for entry in sys.path_importer_cache if Path(entry) == folder]:
        del sys.path_importer_cache[entry]


def _is_library(path: Path, project: Path, libraries: list[Path]) -> bool:
    """Return whether a folder of the project holds libraries, whose cached files are good."""
    parts = set(path.relative_to(project).parts)
    is_ignored = bool(parts & (IGNORED_DIRECTORIES | _LIBRARIES))
    return is_ignored or any(path.is_relative_to(library) for library in libraries)
