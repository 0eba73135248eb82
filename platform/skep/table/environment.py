"""The file of the tables: one LMDB environment, shared by all processes of a platform.

Commits go to memory that the processes share with the kernel, and not to the disk: that is what
makes them take microseconds. They outlive every process. What outlives the machine is a snapshot,
and the file itself when the last process has closed it.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import lmdb

from skep.base.errors import TableError

log = logging.getLogger(__name__)

# The virtual size: what is not used takes no room on the disk.
MAP_SIZE = 4 << 30
_SPARE = 16 << 20
_READERS = 1024
_MAGIC, _DATA_VERSION = 0xBEEFC0DE, 1
# Of mdb.c: magic, version; page size; last page and transaction, in each of two meta pages.
_META = struct.Struct("<16xII16xI92xQQ")
_FORMAT_KEY, _FORMAT = b"f", b"1"
# Of the file `state`: less than a sector, which a disk writes as a whole.
_STATE_LENGTH = 256
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Environment:
    """The open file; `folder` holds it and its snapshot.

    Raises TableError if it is damaged and used by others, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "live.mdb"
        self.snapshot_file = folder / "snapshot.mdb"
        self._state_file = folder / "state"
        self.pid = os.getpid()
        self._reserved = 0
        self.writer = 0
        self.copied = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Held as long as the file is open: a process that gets it alone is the first or last.
            self._users = _private(folder / "users.lock", os.O_RDWR | os.O_CREAT)
            try:
                with self._door():
                    self._open()
            except BaseException:
                os.close(self._users)
                raise
        except OSError as error:
            raise TableError(
                f"The tables in {folder} cannot be used by user {os.geteuid()}: "
                f"{error.filename or self.file}: {error.strerror}."
            ) from error

    @contextmanager
    def _door(self) -> Iterator[None]:
        """Let one process at a time open or close the file: so the last to close it and the next to
        open it agree on what `state` says."""
        with open(self.folder / "door.lock", "a", opener=_private) as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield

    def _open(self) -> None:
        if alone := _locked(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._recover()
        else:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if problem := self.problem() or damage(self.file):
                raise TableError(
                    f"{self.file} {problem}, and other processes use it: stop the platform."
                )
        try:
            self.lmdb = lmdb.open(
                str(self.file), subdir=False, map_size=MAP_SIZE, max_readers=_READERS, mode=0o600,
                sync=False, metasync=False, writemap=True, map_async=True, readahead=False,
                max_spare_txns=8,
            )  # fmt: skip
        except lmdb.Error as error:
            raise TableError(f"{self.file} cannot be opened: {error}.") from error
        if alone:
            self._write_state(f"open {_boot_id()} {self._identity()}")
            with self.lmdb.begin(write=True) as txn:
                if txn.get(_FORMAT_KEY) is None:
                    txn.put(_FORMAT_KEY, _FORMAT)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        with self.lmdb.begin() as txn:
            written = txn.get(_FORMAT_KEY, b"?").decode(errors="replace")
        if written != _FORMAT.decode():
            self.lmdb.close()
            raise TableError(
                f"{self.file} was written by another version of skep (format {written}, this one "
                f"reads {_FORMAT.decode()}): start that version, or move {self.folder} away."
            )
        self.lmdb.reader_check()

    def problem(self) -> str:
        """Return why the file is not the one that other processes have open, or nothing.

        To open it would be to share rows with no one, and a lock of LMDB that was made again would
        let two processes write at once.
        """
        if self._state()[2:] != self._identity().split():
            return "was removed or replaced"
        return "" if self.file.stat().st_size else "was emptied"

    def _state(self) -> list[str]:
        """Return whether the file is open, since which boot, and its identity; nothing before it is
        first opened."""
        with suppress(FileNotFoundError):
            return self._state_file.read_text().split()
        return []

    def _write_state(self, text: str) -> None:
        """Write it to the disk, before anything is written to the file that it is about; in place,
        so that it takes no room on a full one."""
        descriptor = _private(self._state_file, os.O_RDWR | os.O_CREAT)
        try:
            os.pwrite(descriptor, text.encode().ljust(_STATE_LENGTH), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _publish(self, coming: Path, name: Path) -> None:
        """Give a written file its name, also on the disk."""
        coming.replace(name)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _identity(self) -> str:
        """Return the inodes of the file and of LMDB's lock, 0 for one that is missing."""
        names = (self.file, self.file.with_name(f"{self.file.name}-lock"))
        return " ".join(str(name.stat().st_ino if name.exists() else 0) for name in names)

    def _recover(self) -> None:
        """Put the snapshot in the place of a file that is gone or cannot be trusted."""
        state = self._state()
        is_there = self.file.exists() and self.file.stat().st_size > 0
        problem = damage(self.file) if is_there else "is missing or empty"
        if state[:1] == ["open"] and state[1:2] != [_boot_id()]:
            problem = problem or "was in use when the machine stopped"
        if not problem or (not is_there and not state):
            return
        kept = self._put_aside() if is_there else "there is no old file"
        # The file has its name until another takes it: a kill in here loses nothing.
        outcome, coming = "they are empty", self.file.with_suffix(".new")
        coming.unlink(missing_ok=True)
        coming.touch(0o600)
        if self.snapshot_file.exists() and not damage(self.snapshot_file):
            shutil.copyfile(self.snapshot_file, coming)
            written = time.localtime(self.snapshot_file.stat().st_mtime)
            outcome = f"they are as of {time.strftime('%F %T', written)}"
        coming.replace(self.file)
        log.error("The file of the tables %s %s: %s; %s.", self.file, problem, outcome, kept)

    def _put_aside(self) -> str:
        """Give the file a second name, by which it is kept; return that in words."""
        aside = self.file.with_name(f"damaged-{time.strftime('%Y%m%d-%H%M%S')}.mdb")
        for older in self.folder.glob("damaged-*.mdb"):
            older.unlink()
        os.link(self.file, aside)
        return f"the old file is {aside.name}"

    def begin(self) -> lmdb.Transaction:
        """Return a transaction that reads; it waits for nothing."""
        return self.lmdb.begin()

    def begin_writing(self) -> lmdb.Transaction:
        """Return a transaction that may write; it waits for that of any other process.

        Raises TableError in a thread whose other coroutine is inside of one.
        """
        if self.writer == threading.get_ident():
            raise TableError(
                "Another coroutine of this thread is inside `with transaction()`: there may be no "
                "await in its block."
            )
        return self.lmdb.begin(None, None, True)

    @property
    def used(self) -> int:
        """How many bytes all tables take in the file."""
        return int((self.lmdb.info()["last_pgno"] + 1) * self.lmdb.stat()["psize"])

    @property
    def is_short(self) -> bool:
        """Whether the room that was reserved is less than twice what is used."""
        return 2 * self.used > self._reserved

    def reserve(self, size: int) -> None:
        """Take room on the disk for so many bytes and some more, so that a full disk is an error
        here and not the death of a process that writes. Room that was taken before is kept.

        The caller has a transaction that writes: where a file system cannot take room, the C
        library reads bytes and writes them again. Raises TableError if there is no room.
        """
        wanted = min(MAP_SIZE, size + _SPARE)
        if wanted <= self._reserved or not hasattr(os, "posix_fallocate"):
            return
        with open(self.file, "r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, wanted)
            except OSError as error:
                raise TableError(
                    f"The tables need {wanted >> 20} MiB in {self.folder}: {error.strerror}."
                ) from error
        self._reserved = wanted

    def age_of_snapshot(self) -> float:
        """Return how many seconds ago the snapshot was written, whichever process did it."""
        try:
            return abs(time.time() - self.snapshot_file.stat().st_mtime)
        except FileNotFoundError:
            return math.inf

    def snapshot(self) -> None:
        """Write all tables to the snapshot, if they have changed since the last one."""
        now = self.lmdb.info()["last_txnid"]
        if now == self.copied:
            return
        coming = self.snapshot_file.with_suffix(".new")
        try:
            with open(coming, "wb", opener=_private) as file:
                self.lmdb.copyfd(file.fileno(), compact=True)
                os.fsync(file.fileno())
        except BaseException:
            coming.unlink(missing_ok=True)
            raise
        self._publish(coming, self.snapshot_file)
        self.copied = now

    def close(self) -> None:
        """Close the file; the last process to do so writes all of it to the disk."""
        is_there = self.folder.exists()  # it may have been removed, with all that is in it
        with self._door() if is_there else nullcontext():
            try:
                if is_there and _locked(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self.lmdb.sync(True)
                    self._write_state("closed")
            except (OSError, lmdb.Error) as error:
                log.error("The tables could not be written to the disk: %s", error)
            finally:
                self.lmdb.close()
                os.close(self._users)


def damage(file: Path) -> str:
    """Return what is wrong with a file of LMDB, or nothing. Raises TableError if it is of another
    version of LMDB."""
    if not file.exists() or not (size := file.stat().st_size):
        return ""
    with file.open("rb") as opened:
        head = opened.read(_META.size)
        if len(head) < _META.size or _META.unpack(head)[0] != _MAGIC:
            return "is damaged"
        _, version, page, *_ = _META.unpack(head)
        if version != _DATA_VERSION:
            raise TableError(
                f"{file} is of another version of LMDB ({version}): move {file.parent} away."
            )
        opened.seek(page)
        second = opened.read(_META.size)
    if len(second) < _META.size or _META.unpack(second)[0] != _MAGIC:
        return "is damaged"
    newest = max(_META.unpack(head), _META.unpack(second), key=lambda meta: meta[4])
    return "" if size >= (newest[3] + 1) * page else "is damaged: its end is missing"


def _private(path: str | Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
