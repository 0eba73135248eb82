"""The names that plugins declare secret, kept beside the archive, for verbs to mask their values
without importing plugins.

<config_dir>/secret_names.json   names only, of all plugins that were ever loaded here
"""

import json
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from skep.base.logs import masking
from skep.config.env import atomic

_FILE = "secret_names.json"

log = logging.getLogger(__name__)


def declare_kept(directory: Path) -> None:
    """Mask every name that is kept here in this process."""
    masking.declare(_kept(directory))


def keep(directory: Path, names: Iterable[str]) -> None:
    """Mask these names in this process, and keep them for others. None is ever dropped: an old
    snapshot may hold a value of a removed plugin."""
    masking.declare(names)
    kept = _kept(directory)
    if new := set(names) - kept:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(directory / _FILE, json.dumps(sorted(kept | new)).encode())
        except OSError as error:
            log.warning("the names of secrets cannot be kept in %s: %s", directory, error.strerror)


def _kept(directory: Path) -> set[str]:
    with suppress(OSError, ValueError):
        found = json.loads((directory / _FILE).read_text())
        if isinstance(found, list):
            return {name for name in found if isinstance(name, str)}
    return set()
