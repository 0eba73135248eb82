"""Talk to the control socket: one JSON object a line, a question and its answer.

A question is `{"cmd": "status", "args": {}}`. Its answer is `{"ok": true, "result": …}` or
`{"ok": false, "error": "a sentence", "code": "refused"}`.
"""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from skep.base.errors import NotRunning, PlatformError
from skep.base.rundir import unix_address

LONGEST_ANSWER = 64 * 1024 * 1024


class CommandFailed(PlatformError):
    """The supervisor understood the command and could not do it; `code` is a word for scripts."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def call(path: Path, command: str, timeout: float | None = None, **arguments: Any) -> Any:
    """Ask the supervisor behind the control socket at `path` and return its result.

    `timeout` is in seconds, None to wait as long as the supervisor lives. Raises NotRunning when
    nobody answers, CommandFailed when the answer is no.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(unix_address(path))
            sock.sendall(_question(command, arguments))
            with sock.makefile("rb") as answers:
                line = answers.readline(LONGEST_ANSWER)
        except TimeoutError as error:
            raise NotRunning(f"The platform on {path.parent} did not answer in time.") from error
        except OSError as error:
            raise _not_running(path) from error
    return _result(line, path)


async def ask(path: Path, command: str, **arguments: Any) -> Any:
    """The same as `call`, for an event loop; bound its time with `asyncio.timeout`."""
    try:
        reader, writer = await asyncio.open_unix_connection(
            unix_address(path), limit=LONGEST_ANSWER
        )
    except OSError as error:
        raise _not_running(path) from error
    try:
        writer.write(_question(command, arguments))
        line = await reader.readline()
    except OSError as error:
        raise _not_running(path) from error
    finally:
        writer.close()
    return _result(line, path)


def _question(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"cmd": command, "args": arguments}).encode() + b"\n"


def _result(line: bytes, path: Path) -> Any:
    if not line:
        raise NotRunning(f"The platform on {path.parent} ended before it answered.")
    answer = json.loads(line)
    if not answer["ok"]:
        raise CommandFailed(answer["error"], answer["code"])
    return answer["result"]


def _not_running(path: Path) -> NotRunning:
    return NotRunning(f"No platform is running on {path.parent}: start it with `platform start`.")
