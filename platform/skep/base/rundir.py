"""The data directory: its files, its lock, and short paths to its sockets."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from skep.base.errors import AlreadyRunning, UsageError
from skep.base.files.filelock import is_held, take
from skep.base.system.linux import network_file_system

# sockaddr_un.sun_path holds 108 bytes on Linux, the closing NUL among them.
_SUN_PATH = 107


class RunDir:
    """The data directory of one platform; nothing is made until `create` is called."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self.control_socket = self.path / "control.sock"
        self.store_socket = self.path / "store.sock"
        self.lock_file = self.path / "supervisor.lock"
        self.pid_file = self.path / "supervisor.pid"
        self.log_file = self.path / "platform.log"
        self.audit_file = self.path / "audit.jsonl"
        self.operations_file = self.path / "operations.jsonl"
        self.queue_file = self.path / "queue.db"
        self.config_dir = self.path / "config"
        self.configserver_dir = self.path / "configserver"
        self.accounts_file = self.path / "accounts.db"
        self.mesh_dir = self.path / "mesh"
        self.tables_dir = self.path / "tables"
        self.schedule_file = self.path / "schedule" / "journal.json"
        self.logs_dir = self.path / "logs"
        self.inboxes_dir = self.path / "inboxes"

    def create(self) -> None:
        """Make the directories, readable by their owner alone.

        Raises UsageError when that is not possible, or when they are on another machine: the queue
        needs memory and locks that are shared with the disk.
        """
        try:
            for directory in (self.path, self.config_dir, self.configserver_dir, self.mesh_dir):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                directory.chmod(0o700)
        except OSError as error:
            raise UsageError(
                f"The data directory {self.path} cannot be made ({error.strerror}): "
                "give another with --data-dir."
            ) from error
        network = network_file_system(self.path)
        if network:
            raise UsageError(
                f"The data directory {self.path} lies on a network file system ({network}), where "
                "a queue cannot be kept safely: give one on a local disk with --data-dir."
            )

    def lock(self, inherited: int | None = None) -> int:
        """Take the directory for this process; return the descriptor that holds it.

        The lock is the kernel's, so it is gone when its holder is, however that ended: whatever
        process has the id in an old file by now, it is not asked. `inherited` holds it already,
        from before a restart. Raises AlreadyRunning, naming the holder's process id.
        """
        if inherited is not None:
            return inherited
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if take(descriptor):
            return descriptor
        os.close(descriptor)
        holder = self.pid() or "another process"
        raise AlreadyRunning(
            f"A platform is already running on {self.path} (pid {holder}): "
            "stop it with `platform stop`, or give another --data-dir."
        )

    def own_writes(self, run_id: str) -> Path:
        """Return the file in which the workers of one run note what of the code they write."""
        return self.path / f"own-writes.{run_id}"

    def is_held(self) -> bool:
        """Return whether a platform holds the directory, even if it does not answer yet."""
        return is_held(self.lock_file)

    def leave(self) -> None:
        """Remove the sockets and the file with the process id."""
        for path in (self.control_socket, self.store_socket, self.pid_file):
            path.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """Return the process id that the last supervisor wrote down, or None."""
        with suppress(OSError, ValueError), open(self.pid_file, opener=_without_waiting) as file:
            return int(file.read())
        return None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file that may be a FIFO, where opening it would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def fits_unix(path: Path) -> bool:
    """Return whether the kernel takes a path for a unix socket."""
    return len(os.fsencode(path)) <= _SUN_PATH


def unix_address(path: Path) -> str:
    """Return an address for a unix socket at `path`, however long the path is.

    A path too long for the kernel is reached through a descriptor of its directory, which stays
    open for the life of the process; Linux only.
    """
    if fits_unix(path):
        return str(path)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{directory}/{path.name}"


def bind_unix(path: Path, backlog: int = 128) -> socket.socket:
    """Listen on a unix socket that only its owner may ever open, replacing a stale one."""
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)  # before bind: a chmod afterwards would leave a moment open to all
    try:
        listener.bind(unix_address(path))
    finally:
        os.umask(old)
    listener.listen(backlog)
    return listener
