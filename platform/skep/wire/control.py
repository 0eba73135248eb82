"""Client of the control socket: one JSON object a line, a question and its answer.

A question is `{"cmd": "status", "args": {}}`. Its answer is `{"ok": true, "result": …}` or
`{"ok": false, "error": "a sentence", "code": "refused"}`. With `"news": true` in the
question, reports of progress come before the answer: any number of lines `{"news": {…}}`.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skep.base.errors import NotAllowed, NotRunning, PlatformError, TimedOut, UsageError
from skep.base.rundir import RunDir, unix_address

# How long (seconds) to wait for a platform that starts or restarts.
_PATIENCE = 10.0
_LOOK = 0.02
# A question may have 64 KiB; this is for a payload in it, as JSON.
LONGEST_QUESTION = 60_000
LONGEST_ANSWER = 64 * 1024 * 1024


class CommandFailed(PlatformError):
    """The supervisor understood the command and could not do it; `code` is a word for scripts."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def call(
    path: Path,
    command: str,
    timeout: float | None = None,
    news: Callable[[dict[str, Any]], None] | None = None,
    **arguments: Any,
) -> Any:
    """Ask the supervisor behind the control socket at `path` and return its result.

    `timeout` is in seconds, None to wait as long as the supervisor lives. `news` is called with
    reports of progress. A platform that starts or restarts is waited for. Raises NotRunning when no
    platform runs, NotAllowed when the caller may not ask, TimedOut when there is no answer in time
    or the command takes too long, UsageError when it is malformed, CommandFailed when it failed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            _connect(sock, path)
            sock.sendall(_question(command, arguments, news is not None))
            with sock.makefile("rb") as answers:
                while (line := answers.readline(LONGEST_ANSWER)).endswith(b"\n"):
                    message = json.loads(line)
                    if "ok" in message:
                        return _result(message)
                    if news is not None:
                        news(message["news"])
        except TimeoutError as error:
            raise TimedOut(f"The platform on {path.parent} did not answer in time.") from error
        except OSError as error:
            raise _not_reached(path, error) from error
    raise _ended(path)


def _connect(sock: socket.socket, path: Path) -> None:
    """Connect, waiting while the holder of the directory does not yet listen."""
    end, address = time.monotonic() + _PATIENCE, unix_address(path)
    while True:
        try:
            sock.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            if not RunDir(path.parent).is_held() or time.monotonic() > end:
                raise
            time.sleep(_LOOK)
        else:
            return


async def ask(path: Path, command: str, **arguments: Any) -> Any:
    """The same as `call`, for an event loop and without waiting for a platform that starts; bound
    its time with `asyncio.timeout`."""
    try:
        reader, writer = await asyncio.open_unix_connection(
            unix_address(path), limit=LONGEST_ANSWER
        )
    except OSError as error:
        raise _not_reached(path, error) from error
    try:
        writer.write(_question(command, arguments, news=False))
        line = await reader.readline()
    except OSError as error:
        raise _not_reached(path, error) from error
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise _ended(path)
    return _result(json.loads(line))


# Refusals that have an exit code of their own.
_KNOWN = {"permission": NotAllowed, "timeout": TimedOut, "usage": UsageError}


def _question(command: str, arguments: dict[str, Any], news: bool) -> bytes:
    question = {"cmd": command, "args": arguments, **({"news": True} if news else {})}
    return json.dumps(question).encode() + b"\n"


def _result(answer: dict[str, Any]) -> Any:
    if answer["ok"]:
        return answer["result"]
    if (known := _KNOWN.get(answer["code"])) is not None:
        raise known(answer["error"])
    raise CommandFailed(answer["error"], answer["code"])


def _ended(path: Path) -> NotRunning:
    return NotRunning(f"The platform on {path.parent} ended before it answered.")


def _not_reached(path: Path, error: OSError) -> PlatformError:
    if isinstance(error, PermissionError):
        return NotAllowed(f"{path} may be opened by root and by the user who runs the platform.")
    if isinstance(error, ConnectionResetError | BrokenPipeError):  # it had been reached
        return _ended(path)
    if RunDir(path.parent).is_held():
        return NotRunning(f"The platform on {path.parent} cannot be asked yet: it is starting.")
    return NotRunning(f"No platform is running on {path.parent}: start it with `platform start`.")
