"""The last lines of one slot's log, in a file of its own: for `platform proc logs`.

The log of the platform may go anywhere, and holds the lines of all processes. A custom process
keeps its own ones besides, as JSON, in two files of bounded size.
"""

import logging
import os
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO

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
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""

    def read(self) -> list[str]:
        """Return the lines since the last call."""
        lines = [] if self._file else self._lines_before()
        if self._file is None:
            self._open()
        while self._file is not None:
            data = self._begun + self._file.read()
            *ends, self._begun = data.split(b"\n")
            lines += [line.decode(errors="replace") for line in ends]
            if self._is_present():
                break
            self._file.close()
            self._open()
        return lines

    def _lines_before(self) -> list[str]:
        with suppress(OSError):
            before = self._path.with_name(f"{self._path.name}.1")
            return before.read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    def _open(self) -> None:
        self._file = None
        with suppress(OSError):
            self._file = self._path.open("rb")

    def _is_present(self) -> bool:
        """Whether the file is still the one that lines are written to."""
        assert self._file is not None
        with suppress(OSError):
            return os.fstat(self._file.fileno()).st_ino == self._path.stat().st_ino
        return True


class _Handler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """The line is in the log of the platform."""
