"""One log schema for every process: text on a terminal, JSON lines otherwise.

Each line says which slot of which generation wrote it, and passes through the masker. A line is
one `write`, so lines of several processes that share a stream do not mix. Nothing that comes from
outside can pass for a line of ours: in JSON every control character is escaped, in text too, and
what follows a line break is indented.
"""

import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from skep.base.masking import Masker

_bound: ContextVar[dict[str, Any]] = ContextVar("skep_log_fields", default={})  # noqa: B039

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_DIM, _BOLD, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
# JSON escapes the first 32 by itself; some programs take the others for the end of a line.
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x20}
_TEXT_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS if chr(code) not in "\n\t"}
_TEXT_ESCAPES[ord("\n")] = "\n    "


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields (`task_id=…`) to every line logged in this block and what it awaits."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def begin(fields: dict[str, Any]) -> None:
    """Let every line logged from here on have these fields and no others. Call it in an asyncio
    task of its own: they stay until its context ends."""
    _bound.set(fields)


def bound_fields() -> Mapping[str, Any]:
    """Return the fields that a line logged here would have."""
    return _bound.get()


def configure(
    slot: str,
    generation: int = 0,
    *,
    level: str = "INFO",
    style: str = "auto",
    masker: Masker | None = None,
    stream: TextIO | None = None,
    prints: bool = False,
) -> None:
    """Send the whole process's logs to `stream` (standard error by default).

    `style` is `text`, `json` or `auto` (text on a terminal). `generation` 0 means none: a platform
    slot. With `prints`, what code prints becomes log lines as well, whatever the level. Calling it
    again replaces what was configured before.
    """
    stream = stream if stream is not None else sys.__stderr__ or sys.stderr
    name = f"{slot}@{generation}" if generation else slot
    as_text = style == "text" or (style == "auto" and stream.isatty())
    formatter: logging.Formatter = (
        TextFormatter(name, colour=stream.isatty()) if as_text else JsonFormatter(slot, generation)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Masked(formatter, masker or Masker()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if prints:
        logging.getLogger("print").setLevel(logging.INFO)
        logging.captureWarnings(True)
        sys.stdout = sys.stderr = _Printed()
    # Libraries' chatter is not the platform's news; httpx logs every request with its URL.
    for library in ("httpx", "httpcore", "watchfiles", "uvicorn", "apscheduler", "asyncio"):
        logging.getLogger(library).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, role, slot, generation, pid, logger, message, and the
    bound fields. The role is the kind of the slot, or `supervisor` or `zygote`."""

    def __init__(self, slot: str, generation: int) -> None:
        super().__init__()
        role = slot.partition(".")[0]
        self._who = {"role": role, "slot": slot, "generation": generation, "pid": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "ts": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
            **self._who,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str).translate(_JSON_ESCAPES)


class TextFormatter(logging.Formatter):
    """`12:03:04.123 web.0@3      what happened  task_id=…`, for people."""

    def __init__(self, name: str, colour: bool) -> None:
        super().__init__()
        self._name = name
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, or several if it carries a traceback."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = record.getMessage()
        fields = "".join(f"  {k}={v}" for k, v in _bound.get().items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{level}{message}{fields}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        text = text.translate(_TEXT_ESCAPES)
        stamp, name = f"{clock}.{int(record.msecs):03d}", f"{self._name:<14}"
        if not self._colour:
            return f"{stamp} {name} {text}"
        tint = _COLOURS.get(record.levelname, "")
        return f"{_DIM}{stamp}{_RESET} {_BOLD}{name}{_RESET} {tint}{text}{_RESET if tint else ''}"


class _Printing(threading.local):
    """What a thread has printed of a line, and whether it is logging that just now."""

    begun = ""
    logging = False


class _Printed(io.TextIOBase):
    """Standard output of code that prints: each line of it is logged."""

    def __init__(self) -> None:
        self._here = _Printing()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        here = self._here
        if here.logging:
            return len(text)  # a complaint that a line could not be logged, which nobody would see
        *lines, here.begun = (here.begun + text).split("\n")
        here.logging = True
        try:
            for line in lines:
                logging.getLogger("print").info("%s", line)
        finally:
            here.logging = False
        return len(text)

    def flush(self) -> None:
        if self._here.begun:
            self.write("\n")


class _Masked(logging.Formatter):
    """Formats through another formatter and masks the outcome, tracebacks included."""

    def __init__(self, inner: logging.Formatter, masker: Masker) -> None:
        super().__init__()
        self._inner = inner
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        return self._masker(self._inner.format(record))


def utc(seconds: float) -> str:
    """Return a moment of Unix time as it stands in logs: `2026-11-23T12:03:04.123Z`."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
