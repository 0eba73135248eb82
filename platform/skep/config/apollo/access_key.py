"""The secrets of an app on the config server: given by the environment, or read from a file."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)


class AccessKey:
    """One app and its secrets; while one is exchanged for another there are two.

    A file holds one secret a line and is read again before a signing when it has changed, so that a
    new secret needs no restart. If it cannot be read, its last secrets count, and `trouble` says
    why.
    """

    def __init__(self, app_id: str, secrets: Sequence[str] = (), file: str = "") -> None:
        self.app_id = app_id
        self.trouble = ""
        self._given = tuple(secrets)
        self._path = Path(file) if file else None
        self._seen: tuple[int, ...] = ()
        self._read: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._given or self._path)

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets as they are now, those of the file first."""
        if self._path is not None:
            self._look(self._path)
        return tuple(dict.fromkeys((*self._read, *self._given)))

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                lines = path.read_text(encoding="utf-8").splitlines()
                self._read = tuple(line.strip() for line in lines if line.strip())
                self._seen = seen
            trouble = "" if self._read else f"{path} holds no secret"
        except OSError as error:
            trouble = f"{path} cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            trouble = f"{path} is not UTF-8 text"
        if trouble and trouble != self.trouble:
            log.warning("The file of the config server's secrets cannot be used: %s.", trouble)
        self.trouble = trouble
