"""The last lines of one slot's log, in a file of its own: for `platform proc logs`.

The log of the platform may go anywhere, and holds the lines of all processes. A custom process
keeps its own ones besides, as JSON, in two files of bounded size.
"""

import logging
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from skep.base.logs.log import JsonFormatter

# Bytes; there is the present file, and the one before it.
LARGEST = 1024 * 1024
_SUFFIX = ".jsonl"


class KeptLog:
    """The file of one slot in a folder."""

    def __init__(self, folder: Path, slot: str) -> None:
        self.slot = slot
        self.path = folder / f"{slot}{_SUFFIX}"

    @classmethod
    def all(cls, folder: Path) -> "list[KeptLog]":
        """Return those that are in the folder."""
        paths = sorted(folder.glob(f"*{_SUFFIX}"))
        return [cls(folder, path.name.removesuffix(_SUFFIX)) for path in paths]

    def keep(self, generation: int) -> None:
        """Write every line that this process logs from now on to the file as well. A disk that is
        full, or a folder that cannot be made, does not keep the process from its work."""
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            handler = _Handler(self.path, maxBytes=LARGEST, backupCount=1, encoding="utf-8")
            self.path.chmod(0o600)
            handler.setFormatter(JsonFormatter(self.slot, generation))
            logging.getLogger().addHandler(handler)

    def tail(self) -> "LogTail":
        """Return what reads its lines, from the oldest that is kept on."""
        return LogTail(self.path)


class LogTail:
    """Reads the lines of a kept log: first what is there, then what has come since."""

    def __init__(self, path: Path) -> None:
        self._paths = (path.with_name(f"{path.name}.1"), path)
        # How far each file is read, by its first line: it may have another name by now.
        self._read: dict[bytes, int] = {}

    def read(self) -> list[str]:
        """Return the lines since the last call."""
        lines: list[str] = []
        reached: dict[bytes, int] = {}
        for path in self._paths:
            with suppress(OSError), path.open("rb") as file:
                first = file.readline()
                file.seek(self._read.get(first, 0))
                new = file.read()
                whole = new[: new.rfind(b"\n") + 1]
                reached[first] = self._read.get(first, 0) + len(whole)
                lines += whole.decode(errors="replace").splitlines()
        self._read = reached
        return lines


class _Handler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """The line is in the log of the platform."""
