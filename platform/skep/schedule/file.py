"""The crontab file on the disk: its text, and whether it has changed."""

import os
import stat
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from skep.base.files.ownership import changeable, described
from skep.schedule.crontab import CrontabError

_LARGEST = 1024 * 1024
_LOCAL = Path("/etc/localtime")

Signature = tuple[int, ...]


class CrontabFile:
    """A crontab file, which may be replaced, written to, or removed at any time."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._read: Signature = ()
        self._seen: Signature = ()

    def changed(self) -> bool:
        """Return whether it is another file than that of the last `read`, and the same as at the
        last look: an editor may be at work."""
        before, self._seen = self._seen, self._signature()
        return self._seen != self._read and self._seen == before

    def read(self) -> str:
        """Return its text. Raises CrontabError, a sentence with the path, if that cannot be used.

        As root it must not be a file that other users can change: it chooses what is executed.
        """
        self._read = self._seen = self._signature()
        try:
            return _text(self.path)
        except OSError as error:
            why = error.strerror or str(error)
            raise CrontabError(
                f"The crontab {self.path} (PLATFORM_CRONTAB) cannot be read: {why}."
            ) from error

    def _signature(self) -> Signature:
        try:
            found = self.path.stat()
        except OSError as error:
            return (error.errno or 0,)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _text(path: Path) -> str:
    # Opening a FIFO would wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise CrontabError(f"The crontab {path} (PLATFORM_CRONTAB) is not a regular file.")
        if os.geteuid() == 0 and (place := changeable(path, {0})):
            raise CrontabError(
                f"The crontab {path} (PLATFORM_CRONTAB) would be executed as root, but others can "
                f"change {place} ({described(place)})."
            )
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise CrontabError(f"The crontab {path} (PLATFORM_CRONTAB) is larger than 1 MiB.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CrontabError(f"{path}:{line}: the line is not UTF-8.") from error


def local_zone() -> tzinfo:
    """Return the time zone of this machine, as TZ and /etc/localtime have it; UTC without both."""
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        key = os.path.realpath(_LOCAL).rpartition("/zoneinfo/")[2]
        with _LOCAL.open("rb") as file:
            return ZoneInfo.from_file(file, key=key)
    except (KeyError, OSError, ValueError):
        return UTC
