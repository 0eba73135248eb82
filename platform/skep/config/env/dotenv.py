"""The `.env` file: hand-written lines, and the block in it that belongs to the platform.

    hand-written lines, kept byte for byte
    # >>> platform managed: do not edit >>>
    …
    # <<< platform managed <<<

The block comes last, so that python-dotenv applies the same precedence as the platform: remote over
hand-written. The parser finds it, so a value that contains the marks changes nothing. A file that
cannot be read for certain (an open quote, an open block) is refused, with the line.

Values are quoted for readers that interpolate `${…}`, as python-dotenv does by default: `${`
becomes `${:-$}{`, a reference to nothing whose default is `$`.
"""

import errno
import io
import logging
import os
import re
import stat
import time
from collections import ChainMap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import parse_variables

from skep.base.errors import ConfigError
from skep.config.env import atomic

BEGIN = "# >>> platform managed: do not edit >>>"
END = "# <<< platform managed <<<"
_WARNING = '# generated for python-dotenv: do not "source" this file'
_NOTE = "# note: "

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Needs no quotes for any reader: python-dotenv, shells, systemd, docker.
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_BOM = "\ufeff"
# How often to read again a file that another program saves at the same moment.
_ATTEMPTS = 5

# Copies of the file as it was before: the newest are kept.
KEPT = 5
_COPY_MARK = ".bak."

log = logging.getLogger(__name__)


def quote(value: str) -> str:
    """Return the value as it is written behind `KEY=`; python-dotenv ≥ 1.2.3 reads it back.

    Raises ConfigError for what no environment can hold: NUL, half a character.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError("A value contains half a character (a lone surrogate).") from None
    if "\0" in value:
        raise ConfigError("A value contains a NUL character.")
    if _BARE.match(value):
        return value
    value = value.replace("${", "${:-$}{")
    # In single quotes everything but ' and \ stands for itself, newlines too; a reader that opens
    # the file as text would turn a raw CR into a newline.
    if not re.search(r"['\\\r]", value):
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'"{escaped}"'


def render(text: str, values: Mapping[str, str], note: str = "", name: str = ".env") -> str:
    """Return the file's text with a new block of these values.

    Hand-written lines stay as they are; lines after the block move before it. `note` is a line for
    people (the releases), `name` names the file in errors. Raises ConfigError if the text cannot be
    read for certain, or if a key or value cannot be written.
    """
    bom = _BOM if text.startswith(_BOM) else ""
    kept = _Parts.of(text, name).outside
    if kept and not kept.endswith(("\n", "\r")):
        kept += "\n"
    lines = [BEGIN, _WARNING]
    if note:
        lines.append(_NOTE + " ".join(note.split()))
    lines += [_assignment(key, values[key]) for key in sorted(values)]
    return bom + kept + "\n".join([*lines, END, ""])


def parse(text: str) -> dict[str, str]:
    """Return what python-dotenv makes of the whole text, in a process without environment."""
    return _resolved(_bindings(_as_read(text)), {})


def hand_written(text: str, base: Mapping[str, str], name: str = ".env") -> dict[str, str]:
    """Return the values of the lines outside the block.

    `${NAME}` is replaced from earlier lines and from `base`, as python-dotenv does. The text need
    not have a block. Raises ConfigError, naming file and line, if a line cannot be read.
    """
    return _resolved(_Parts.of(_as_read(text), name).hand_written, base)


def managed(text: str, name: str = ".env") -> dict[str, str]:
    """Return the values of the block as they were published. Raises ConfigError."""
    return _resolved(_Parts.of(_as_read(text), name).managed, {})


def read(path: Path) -> str:
    """Return the text of an environment file, "" if there is none. Raises ConfigError if it cannot
    be read as UTF-8."""
    found = _File.at(path)
    return found.text if found else ""


class Written(Enum):
    """What `write` did."""

    NOTHING = "the file was what it should be"
    REPLACED = "a new file has taken the place of the old one"
    IN_PLACE = "the file is a mount point and has been written over"


def write(
    path: Path, values: Mapping[str, str], *, note: str = "", backup: bool = False
) -> Written:
    """Update the block of the file; return what was done.

    Nothing is written when only the note differs. Otherwise the new file is read back as
    python-dotenv would before it replaces the old one in one step. A symlink is followed. The mode
    is 0600, or the old one if that is stricter. `backup` keeps a copy of the old file. Only one
    process may write a file, which the lock on the data directory ensures. Raises ConfigError, and
    leaves the old file untouched.
    """
    target = Path(os.path.realpath(path))
    try:
        atomic.sweep(target.parent, target.name)
        for _ in range(_ATTEMPTS):
            old = _File.at(target)
            if old and _is_current(old, values):
                if stat.S_IMODE(old.status.st_mode) != old.mode:
                    target.chmod(old.mode)  # the file's time stays
                return Written.NOTHING
            if written := _replaced(target, old, values, note, backup):
                return written
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written ({error.strerror}): "
            f"the directory {target.parent} must exist and be writable."
        ) from error
    raise ConfigError(f"{target} is being changed all the time by another program.")


def backups(path: Path) -> list[Path]:
    """Return the copies of a file, the oldest first."""
    head = f"{path.name}{_COPY_MARK}"
    return sorted(entry for entry in path.parent.iterdir() if entry.name.startswith(head))


@dataclass
class _Parts:
    """A file's text taken apart: what people wrote, and the block."""

    name: str
    outside: str = ""
    hand_written: list[Binding] = field(default_factory=list)
    managed: list[Binding] = field(default_factory=list)
    _open: int = 0
    _closed: bool = False

    @classmethod
    def of(cls, text: str, name: str) -> "_Parts":
        parts = cls(name)
        for binding in _bindings(text):
            parts._take(binding)
        if parts._open:
            raise ConfigError(
                f"The managed block that begins in line {parts._open} of {name} has no end: "
                f"put the line {END!r} where it ends, or delete the block."
            )
        return parts

    @property
    def note(self) -> str:
        """The note on top of the block, "" if there is none."""
        for binding in self.managed:
            if binding.key is not None:
                break
            if binding.original.string.startswith(_NOTE):
                return binding.original.string.removeprefix(_NOTE).strip()
        return ""

    def _take(self, binding: Binding) -> None:
        written = binding.original.string
        bare = written.strip()
        line = binding.original.line + written[: written.find(bare)].count("\n")
        if binding.error:
            raise ConfigError(
                f"Line {line} of {self.name} cannot be read: a key, '=' and a value are wanted, "
                "and every quote that is opened must be closed."
            )
        if binding.key is None and bare == BEGIN:
            if self._open or self._closed:
                raise ConfigError(
                    f"A second managed block begins in line {line} of {self.name}: delete one."
                )
            self._open = line
            self.outside += written[: written.find(BEGIN)]
        elif binding.key is None and bare == END:
            if not self._open:
                raise ConfigError(
                    f"Line {line} of {self.name} ends a managed block that was never begun: "
                    "delete it, and look for a quote above it that is not closed."
                )
            self._open, self._closed = 0, True
        elif self._open:
            self.managed.append(binding)
        else:
            self.outside += written
            self.hand_written.append(binding)


@dataclass(frozen=True)
class _File:
    path: Path
    text: str = field(repr=False)
    status: os.stat_result

    @classmethod
    def at(cls, path: Path) -> "_File | None":
        try:
            # Opening a FIFO would wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise ConfigError(f"{path} is not a regular file.")
                with open(descriptor, "rb", closefd=False) as file:
                    data = file.read()
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}).") from error
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"Line {line} of {path} is not UTF-8 text.") from None
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise ConfigError(f"Line {line} of {path} contains a NUL character.")
        return cls(path, text, status)

    @property
    def mode(self) -> int:
        """The file's mode without the rights of others."""
        return stat.S_IMODE(self.status.st_mode) & 0o600


def _assignment(key: str, value: str) -> str:
    if not _KEY.match(key):
        raise ConfigError(f"{key!r} is not a name of an environment variable.")
    try:
        return f"{key}={quote(value)}"
    except ConfigError as error:
        raise ConfigError(f"The value of {key} cannot be written: {error}") from None


def _is_current(old: _File, values: Mapping[str, str]) -> bool:
    """Return whether the file holds these values as we write them; the note may differ."""
    name = str(old.path)
    return render(old.text, values, _Parts.of(old.text, name).note, name) == old.text


def _replaced(
    target: Path, old: _File | None, values: Mapping[str, str], note: str, backup: bool
) -> Written | None:
    """Write the file; return None, with nothing done, if another program changed it."""
    data = render(old.text if old else "", values, note, str(target)).encode()
    temporary = atomic.prepare(target, data, mode=old.mode if old else 0o600)
    try:
        _read_back(temporary, values)
        if old:
            _give_to_owner(temporary, old.status)
        now = _File.at(target)
        if (now.text if now else None) != (old.text if old else None):
            return None
        if backup and old:
            _keep(target, old.text)
        atomic.swap(temporary, target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A file that is itself a mount point (docker -v, subPath) cannot be replaced.
        log.warning("%s is a mount point and is written in place; a reader may see a part", target)
        _write_in_place(target, data)
        return Written.IN_PLACE
    finally:
        atomic.discard(temporary)
    return Written.REPLACED


def _keep(path: Path, text: str) -> None:
    """Copy a file that is about to be replaced; the file itself stays in place until then."""
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    copy = path.with_name(f"{path.name}{_COPY_MARK}{stamp}.{now % 10**9:09}")
    # Named like the file's own temporary ones, so that what a kill leaves is swept with them.
    atomic.swap(atomic.prepare(path, text.encode()), copy)
    for old in backups(path)[:-KEPT]:
        with suppress(FileNotFoundError):
            old.unlink()


def _read_back(path: Path, values: Mapping[str, str]) -> None:
    # Not by `dotenv_values`, whose time grows with the square of the number of keys; a test
    # compares `parse` with it.
    found = parse(path.read_text("utf-8"))
    for key, value in values.items():
        if found.get(key) != value:
            raise ConfigError(
                f"The value of {key} would not survive in the .env file; the old file stays. "
                "Please report the kind of characters it contains."
            )


def _give_to_owner(temporary: Path, status: os.stat_result) -> None:
    """Keep the old file's owner, so that root's update does not lock a user out."""
    if status.st_uid != os.geteuid():
        with suppress(PermissionError):
            os.chown(temporary, status.st_uid, status.st_gid)


def _write_in_place(target: Path, data: bytes) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(descriptor)


@lru_cache(maxsize=2)  # a commit parses the text before it and after it several times
def _bindings(text: str) -> tuple[Binding, ...]:
    return tuple(parse_stream(io.StringIO(text)))


def _resolved(bindings: Iterable[Binding], base: Mapping[str, str]) -> dict[str, str]:
    """Replace `${NAME}` and `${NAME:-default}` as python-dotenv does when a file overrides."""
    values: dict[str, str | None] = {}
    known: ChainMap[str, str | None] = ChainMap(values, dict(base))
    for binding in bindings:
        if binding.key is None:
            continue
        value = binding.value
        if value is not None and "${" in value:
            value = "".join(atom.resolve(known) for atom in parse_variables(value))
        values[binding.key] = value
    return {key: value for key, value in values.items() if value is not None}


def _as_read(text: str) -> str:
    """Return the text as a reader sees it that opens the file as text."""
    return text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
