"""Makes the project folder importable: the folder in which the platform was started.

It is the last on the path, so that nothing in it can stand in for a library. Its modules are called
what they are called there: `shop.prices`, not `plugins.…`.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder
from pathlib import Path

from skep.base.files.fingerprint import IGNORED_DIRECTORIES
from skep.worker.loading.loader import UncachedLoader

_LIBRARIES = frozenset({"site-packages", "dist-packages"})


def make_importable(project: Path, *, fresh: bool) -> None:
    """Let plugins import what lies in a folder. What is `fresh` is compiled every time: while the
    code is watched it may change twice within a second, which a cached file does not show."""
    text = str(project)
    if text in sys.path:
        return
    libraries = [Path(entry) for entry in sys.path if entry]
    sys.path.append(text)
    if not fresh:
        return

    def finder(entry: str) -> FileFinder:
        path = Path(entry)
        if not path.is_relative_to(project) or _is_library(path, project, libraries):
            raise ImportError(f"{entry} is not a part of the project")
        loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (UncachedLoader, SOURCE_SUFFIXES)
        return FileFinder(entry, *loaders)

    sys.path_hooks.insert(0, finder)
    for entry in [entry for entry in sys.path_importer_cache if Path(entry) == project]:
        del sys.path_importer_cache[entry]


def _is_library(path: Path, project: Path, libraries: list[Path]) -> bool:
    """Say whether a folder of the project holds libraries, of which the caches are good."""
    parts = set(path.relative_to(project).parts)
    is_ignored = bool(parts & (IGNORED_DIRECTORIES | _LIBRARIES))
    return is_ignored or any(path.is_relative_to(library) for library in libraries)
