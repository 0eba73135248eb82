"""One log schema for every process: text on a terminal, JSON lines otherwise.

Each line names the slot and the generation that wrote it. Its texts are cut to a length that takes
no time, masked, and only then quoted: what is escaped could not be recognised. A line is one
`write`, so lines of several processes that share a stream do not mix. Nothing that comes from
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
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from traceback import TracebackException
from typing import Any, TextIO

from skep.base.logs.masking import Masker, secrets_in

_bound: ContextVar[dict[str, Any]] = ContextVar("skep_log_fields", default={})  # noqa: B039

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_DIM, _BOLD, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
# JSON escapes the first 32 by itself; some programs take the others for the end of a line.
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x20}
_TEXT_ESCAPES = {code: f"\\x{code:02x}" for code in _CONTROLS if chr(code) not in "\n\t"}
_TEXT_ESCAPES[ord("\n")] = "\n    "
# Characters of a message, and of a traceback, that are logged.
_LONGEST = 32_768
# A secret that begins before the cut is seen as a whole if it is no longer than this.
_MARGIN = 4096
# An old secret still works, and is still quoted, while the workers of old generations go.
_KEPT_SECRETS = 16

# What this process must not show. Module state, as the handlers of `logging` are.
_masker = Masker()
_secrets: deque[frozenset[str]] = deque(maxlen=_KEPT_SECRETS)


def hide(environment: Mapping[str, str]) -> None:
    """Mask the secret values of this environment from now on, and those of the ones before."""
    global _masker
    if (secrets := secrets_in(environment)) not in _secrets:
        _secrets.append(secrets)
        _masker = Masker(frozenset().union(*_secrets))


def excerpt(text: str, longest: int) -> str:
    """Return a text masked, and without its middle if it is longer than that."""
    if len(text) <= longest:
        return _masker(text)
    half = longest // 2
    head, tail = _masker(text[: half + _MARGIN]), _masker(text[-half - _MARGIN :])
    return f"{head[:half]}{_left_out(len(text) - 2 * half)}{tail[-half:]}"


def traceback_text(error: BaseException, longest: int) -> str:
    """Return the traceback of an exception and of those it followed from, as `excerpt` does.

    What the exceptions say is cut before it is formatted: that takes seconds for 20 MB of it.
    """
    formatted = TracebackException.from_exception(error)
    _cut(formatted, longest + 2 * _MARGIN)
    return excerpt("".join(formatted.format()), longest)


def _cut(formatted: TracebackException, longest: int) -> None:
    waiting: list[TracebackException | None] = [formatted]
    while waiting:
        if (one := waiting.pop()) is None:
            continue
        one._str = _ends(str(one), longest)  # type: ignore[attr-defined]  # nothing public does it
        if one.__notes__ is not None:
            one.__notes__ = [_ends(str(note), longest) for note in one.__notes__]
        waiting += [one.__cause__, one.__context__, *(one.exceptions or ())]


def _ends(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}{_left_out(len(text) - 2 * half)}{text[-half:]}"


def _left_out(count: int) -> str:
    return f"\n… {count} characters left out …\n"


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
    handler.setFormatter(formatter)
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
        line: dict[str, Any] = {
            "ts": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": excerpt(record.getMessage(), _LONGEST),
            **{k: _masker(v) if isinstance(v, str) else v for k, v in _bound.get().items()},
            **self._who,
        }
        if text := _exception(record):
            line["exception"] = text
        return json.dumps(line, ensure_ascii=False, default=str).translate(_JSON_ESCAPES)


class TextFormatter(logging.Formatter):
    """`12:03:04.123 web.0@3      what happened  task_id=…`, for people."""

    def __init__(self, name: str, colour: bool) -> None:
        super().__init__()
        self._name = name
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = excerpt(record.getMessage(), _LONGEST)
        fields = _masker("".join(f"  {k}={v}" for k, v in _bound.get().items()))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{level}{message}{fields}"
        if trace := _exception(record):
            text = f"{text}\n{trace}"
        text = text.translate(_TEXT_ESCAPES)
        stamp, name = f"{clock}.{int(record.msecs):03d}", f"{self._name:<14}"
        if not self._colour:
            return f"{stamp} {name} {text}"
        tint = _COLOURS.get(record.levelname, "")
        return f"{_DIM}{stamp}{_RESET} {_BOLD}{name}{_RESET} {tint}{text}{_RESET if tint else ''}"


def _exception(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return traceback_text(error, _LONGEST).removesuffix("\n") if error is not None else ""


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
            return len(text)  # the logging of a line failed and prints its error
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


def utc(seconds: float) -> str:
    """Return a moment of Unix time as logs show it: `2026-11-23T12:03:04.123Z`."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
