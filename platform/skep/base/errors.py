"""Everything the platform raises on purpose. The text of an error is a whole sentence."""

from typing import ClassVar


class PlatformError(Exception):
    """The root of what the platform raises on purpose.

    `exit_code` is what `platform start` ends with when the error is not handled.
    """

    exit_code: ClassVar[int] = 1


class UsageError(PlatformError):
    """An option or a PLATFORM_* key has a value the platform cannot use."""

    exit_code = 2


class ConfigError(PlatformError):
    """The config server, a release or the `.env` file cannot be used."""

    exit_code = 4


class ListenError(PlatformError):
    """A socket cannot be bound: the port is taken, privileged, or the address is not ours."""

    exit_code = 5


class AlreadyRunning(PlatformError):
    """Another supervisor holds the data directory."""

    exit_code = 6


class NotRunning(PlatformError):
    """No supervisor answers on the control socket of the data directory."""

    exit_code = 3


class NotAllowed(PlatformError):
    """The control socket is for root and for the user who runs the platform."""

    exit_code = 4


class TimedOut(PlatformError):
    """The supervisor does not answer, or what was asked for takes too long."""

    exit_code = 5


class PrivilegeError(PlatformError):
    """There is no such user or group, or this process may not become it."""

    exit_code = 8


class PluginError(PlatformError):
    """A plugin will not load, clashes with another or is invalid.

    `plugin` is its name, `file` and `line` where the fault lies as far as that is known, `trace`
    the traceback as text.
    """

    exit_code = 3

    def __init__(
        self, plugin: str, message: str, file: str = "", line: int = 0, trace: str = ""
    ) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.file = file
        self.line = line
        self.trace = trace


class DeclarationError(PluginError):
    """A `Plugin(…)` has fields with values that they do not take; `faults` has a sentence each."""

    def __init__(self, plugin: str, faults: tuple[str, ...]) -> None:
        super().__init__(plugin, "\n".join(faults))
        self.faults = faults


class Undeclared(PluginError):
    """A class is used that is in no `Plugin(…)`; the text names the field to put it in."""


class EngineError(PlatformError):
    """A delivery cannot be accepted or settled."""


class QueueFull(EngineError):
    """The queue holds as many deliveries as it may; deliver again later."""


class RequestRefused(EngineError):
    """The store cannot carry out this one request; nothing of it happened, and it is not sent
    again."""


class StoreFull(EngineError):
    """The disk of the data directory is full; nothing new is accepted until there is room."""


class StoreUnavailable(EngineError):
    """The store did not answer in time; whether the delivery was accepted is not known."""


class TableError(PlatformError):
    """The file of the tables cannot be used, or a table not from this process."""


class TableFull(TableError):
    """The table has as many rows as it may, or the file of all tables is full."""


class ProcessError(PlatformError):
    """A message to a custom process, or its reply, did not get through."""


class ProcessDown(ProcessError):
    """No process of that name runs, so the message was not taken."""

    exit_code = 3


class ProcessBusy(ProcessError):
    """The inbox of the process stayed full for the whole timeout: the message was not sent."""

    exit_code = 5


class ProcessGone(ProcessError):
    """The process ended, or was killed, after it had taken the message and before its reply was
    complete: whether it did the work is not known."""


class ProcessTimeout(ProcessError, TimeoutError):
    """The process did not reply in time: whether it does the work is not known."""

    exit_code = 5


class ProcessFailed(ProcessError):
    """The process answered with a failure, or with nothing; `reason` is what it said."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class MessageInvalid(ProcessError, TypeError):
    """A message or reply is not of the type that the process declares, or cannot be encoded."""

    exit_code = 2


class MessageTooLarge(ProcessError, ValueError):
    """A message or reply has more bytes than the process takes."""

    exit_code = 2


class CommandError(PlatformError):
    """An external command cannot be started."""


class NotPrepared(PlatformError):
    """A process cannot prepare; the text says all that there is to know, without a traceback."""


class InternalError(PlatformError):
    """This should never happen. If you see it, please report it with the log around it."""
