"""The three ways to reach a process: send, request and stream; with bytes, whatever they mean.

A timeout is in seconds. `if_down` is what happens while no process of that name runs: "wait" lets
the message wait for one, within the timeout, "fail" raises ProcessDown at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from skep.base.errors import (
    MessageInvalid,
    MessageTooLarge,
    ProcessBusy,
    ProcessDown,
    ProcessError,
    ProcessFailed,
    ProcessGone,
    ProcessTimeout,
)
from skep.base.logs import correlation
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.messaging.address import InboxAddress
from skep.messaging.binding import PostOffice
from skep.messaging.frame import Kind, OutgoingFrame, ReceivedFrame
from skep.messaging.replies import CLOSED, LATE, ReplyReader
from skep.messaging.waiting import Steps

IfDown = Literal["wait", "fail"]
# Bytes; the most that any class may declare for a message or a reply.
LARGEST = 256 * 1024 * 1024
# Seconds that a caller waits unless it says otherwise.
TIMEOUT = 10.0
_LONGEST_TIMEOUT = 7 * 86400.0
_REASONS: dict[type[BaseException], str] = {
    ProcessDown: "down",
    ProcessBusy: "busy",
    ProcessGone: "gone",
    ProcessTimeout: "timeout",
    ProcessFailed: "failed",
    MessageInvalid: "invalid",
    MessageTooLarge: "large",
}
# By the word with which a failure that a process sends begins.
FAILED, INVALID, LARGE = "failed", "invalid", "large"
_REFUSALS: dict[str, type[ProcessError]] = {INVALID: MessageInvalid, LARGE: MessageTooLarge}


def check_terms(name: str, timeout: float, if_down: str) -> None:
    """Raise ValueError if a call cannot have these."""
    if type(timeout) not in (int, float) or not 0 <= timeout <= _LONGEST_TIMEOUT:
        raise ValueError(
            f"{name}: timeout is {timeout!r:.40}; it takes 0 to {_LONGEST_TIMEOUT:.0f} seconds."
        )
    if if_down not in get_args(IfDown):
        raise ValueError(f'{name}: if_down is {if_down!r:.40}; it takes "wait" or "fail".')


def send(office: PostOffice, name: str, body: bytes, timeout: float, if_down: str) -> Steps[None]:
    """Send a message that wants no reply; return when the kernel has it.

    Raises ProcessBusy, ProcessDown, ProcessError and ValueError.
    """
    check_terms(name, timeout, if_down)
    with counted(office.telemetry, name):
        yield from _posted(office, name, Kind.SEND, body, timeout, if_down)


def request(
    office: PostOffice, name: str, body: bytes, timeout: float, if_down: str, largest: int
) -> Steps[bytes]:
    """Send a message and return the reply to it, which has up to `largest` bytes.

    Raises ProcessBusy, ProcessDown, ProcessGone, ProcessTimeout, ProcessFailed, MessageInvalid,
    ProcessError and ValueError.
    """
    check_terms(name, timeout, if_down)
    started = time.monotonic()
    reader = _reader(name)
    try:
        with counted(office.telemetry, name):
            yield from _posted(office, name, Kind.REQUEST, body, timeout, if_down, reader)
            found = yield from reader.next(started + timeout, largest)
            reply = _reply(office.outbox.address(name), found, timeout, largest)
    finally:
        reader.close()
    seconds = time.monotonic() - started
    office.telemetry.point("process.requested", process=name, seconds=seconds)
    return reply.body


class OpenStream:
    """A message with many replies. `timeout` is for sending it, and then for each reply."""

    def __init__(
        self, office: PostOffice, name: str, body: bytes, timeout: float, if_down: str, largest: int
    ) -> None:
        check_terms(name, timeout, if_down)
        self._office = office
        self._name = name
        self._body = body
        self._timeout = timeout
        self._if_down = if_down
        self._largest = largest
        self._reader: ReplyReader | None = None
        self._ended = False

    def next(self) -> Steps[bytes | None]:
        """Return the next reply, sending the message before the first one; None at the end.

        Raises what `request` raises; the stream is closed then.
        """
        if self._ended:
            return None
        complete = False
        try:
            with counted(self._office.telemetry, self._name):
                if (reader := self._reader) is None:
                    reader = self._reader = _reader(self._name)
                    yield from _posted(
                        self._office, self._name, Kind.STREAM, self._body, self._timeout,
                        self._if_down, reader,
                    )  # fmt: skip
                end = time.monotonic() + self._timeout
                found = yield from reader.next(end, self._largest)
                address = self._office.outbox.address(self._name)
                frame = _reply(address, found, self._timeout, self._largest)
            complete = frame.kind is Kind.PART
        finally:
            if not complete:
                self.close()
        return frame.body if frame.kind is not Kind.END else None

    def close(self) -> None:
        """Stop waiting for replies; the process sees that at its next one."""
        self._ended = True
        if self._reader is not None:
            self._reader.close()

    def __del__(self) -> None:
        self.close()


def _reader(name: str) -> ReplyReader:
    try:
        return ReplyReader()
    except OSError as error:
        raise ProcessError(f"{name} cannot be asked: {error.strerror}.") from error


def _posted(
    office: PostOffice,
    name: str,
    kind: Kind,
    body: bytes,
    timeout: float,
    if_down: str,
    reader: ReplyReader | None = None,
) -> Steps[None]:
    address = office.outbox.address(name)
    if if_down == "fail" and not address.is_up:
        raise _down(address, "and the message was not to wait for one")
    with _translated(address, office.advice):
        frame = OutgoingFrame(kind, body, _context())
        replies = None if reader is None else reader.theirs
        try:
            end = time.monotonic() + timeout
            sent = yield from office.outbox.send(name, frame, end, replies)
        finally:
            frame.close()
    if not sent:
        if not address.is_up:
            raise _down(address, f"and its inbox has been full for {timeout:g} s")
        raise ProcessBusy(
            f"The inbox of {name} has been full for {timeout:g} s: the message was not sent. Its "
            "processes do not keep up; give it a larger num=, or the call a longer timeout=."
        )
    if reader is not None:
        reader.sent()
    office.telemetry.point("process.sent", process=name, kind=kind.name.lower())


def _reply(
    address: InboxAddress, found: ReceivedFrame | str, timeout: float, largest: int
) -> ReceivedFrame:
    """Return the frame of a reply; raise what anything else means."""
    name = address.name
    if isinstance(found, str):
        if found == CLOSED:
            raise ProcessGone(
                f"{name} ended, or gave the caller up, before its reply was complete: whether it "
                "did the work is not known. Its log says why."
            )
        if found == LATE:
            if not address.is_up:
                raise _down(address, f"and none has come up within {timeout:g} s")
            raise ProcessTimeout(
                f"{name} did not reply within {timeout:g} s: whether it does the work is not "
                "known. Give the call a longer timeout= if it may take that long."
            )
        raise ProcessError(f"{name} has sent a reply that is not one of ours.")
    if found.kind is Kind.FAILURE:
        code, _, text = found.body.decode(errors="replace").partition("\n")
        if code in _REFUSALS:
            raise _REFUSALS[code](text)
        raise ProcessFailed(f"{name} failed: {text}", text)
    if found.length > largest:
        raise too_large(name, "a reply", found.length, largest)
    return found


def too_large(name: str, what: str, length: int, largest: int) -> MessageTooLarge:
    """Return the error for a message or reply that is longer than the process declares."""
    return MessageTooLarge(
        f"{name}: {what} has {length} bytes, and {largest} is the most: send less at once, or "
        f"declare the class with largest={length}."
    )


def _down(address: InboxAddress, why: str) -> ProcessDown:
    return ProcessDown(
        f"No process {address.name} runs in {address.folder.parent}, {why}: see `platform proc ls`."
    )


@contextmanager
def _translated(address: InboxAddress, advice: str) -> Iterator[None]:
    name, folder = address.name, address.folder.parent
    try:
        yield
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if advice:
            raise ProcessDown(f"No process {name} runs here: {advice}.") from error
        if address.is_up:
            raise ProcessDown(
                f"{name} runs, but its inbox {address.path} was removed: `platform restart` makes "
                "another."
            ) from error
        if RunDir(folder).is_held():
            raise ProcessDown(
                f"The platform in {folder} has no process {name} with an inbox: put its class into "
                "a Plugin(processes=[…]) with a run method and enable=True, or correct the name."
            ) from error
        raise ProcessDown(
            f"No platform runs in {folder}, so {name} cannot be reached: start it, or set "
            "PLATFORM_DATA_DIR to the data directory of a running one."
        ) from error
    except PermissionError as error:
        raise ProcessError(
            f"This user may not send to {name}: the inboxes in {address.folder} are for the user "
            "who runs the platform."
        ) from error
    except OSError as error:
        raise ProcessError(f"{name} cannot be reached: {error.strerror}.") from error


def _context() -> bytes:
    return "\n".join(f"{key}={value}" for key, value in correlation.headers().items()).encode()


@contextmanager
def counted(telemetry: Telemetry, name: str) -> Iterator[None]:
    """Count a call that fails by its reason."""
    try:
        yield
    except ProcessError as error:
        reason = _REASONS.get(type(error), "error")
        telemetry.point("process.refused", process=name, reason=reason)
        raise
