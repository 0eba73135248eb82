"""The code of the project, before it is loaded: its state, and how plugins can import it.

The project is the folder in which the platform was started. It is the last on the path, so that
nothing in it can stand in for a library. Its modules keep their names: `shop.prices`, not
`plugins.…`.
"""

import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder
from pathlib import Path

from skep.base.files import fingerprint, own_writes
from skep.base.files.fingerprint import IGNORED_DIRECTORIES
from skep.base.rundir import RunDir
from skep.config.options.sources import project, sources
from skep.config.options.table import Options
from skep.worker.loading.loader import UncachedLoader

_LIBRARIES = frozenset({"site-packages", "dist-packages"})


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
        loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (UncachedLoader, SOURCE_SUFFIXES)
        return FileFinder(entry, *loaders)

    sys.path_hooks.insert(0, finder)
    for entry in [entry for entry in sys.path_importer_cache if Path(entry) == folder]:
        del sys.path_importer_cache[entry]


def _is_library(path: Path, project: Path, libraries: list[Path]) -> bool:
    """Return whether a folder of the project holds libraries, whose cached files are good."""
    parts = set(path.relative_to(project).parts)
    is_ignored = bool(parts & (IGNORED_DIRECTORIES | _LIBRARIES))
    return is_ignored or any(path.is_relative_to(library) for library in libraries)
