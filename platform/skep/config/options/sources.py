"""Where the code of a platform lies, by its settings."""

import os
from pathlib import Path

from skep.base.files.fingerprint import Sources
from skep.config.options.table import Options


def sources(options: Options) -> Sources:
    """Return where the code lies: the plugin folders, and if the code is watched the project."""
    folders = tuple(Path(folder).absolute() for folder in options.plugins)
    if not options.watch:
        return Sources(folders)
    excluded = (text.removeprefix("./").rstrip("/") for text in options.watch_exclude)
    return Sources(
        (*folders, *(Path(folder).absolute() for folder in options.watch_paths)),
        project(options),
        (*excluded, os.path.abspath(options.data_dir)),
        tuple("." + text.lstrip("*.") for text in options.watch_types),
    )


def project(options: Options) -> Path | None:
    """Return the folder in which the platform was started, if plugins lie in it; the root of the
    disk does not count."""
    here = Path.cwd()
    is_above = any(Path(folder).absolute().is_relative_to(here) for folder in options.plugins)
    return here if is_above and here != Path(here.root) else None
