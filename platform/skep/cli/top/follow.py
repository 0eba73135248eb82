"""Follows a platform on the screen: reads it again and again until the operator quits."""

import asyncio
import signal
import time
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.text import Text

from skep.base.errors import NotRunning, TimedOut
from skep.cli.output import duration
from skep.cli.top.lines import COLUMNS, KEYS, UNSORTED, lines, printable
from skep.cli.top.reading import Reading, read
from skep.cli.top.screen import Screen, pressed, when_pressed
from skep.cli.top.view import view
from skep.wire.control import CommandFailed

# After this long (seconds) without an answer the screen says so.
_PATIENCE = 1.0
# The platform stops, starts, or serves too many clients just now.
_PASSING = (NotRunning, CommandFailed)
_SORTS = {column.key for column in COLUMNS}


class Follower:
    """Draws the platform behind a control socket on a screen, every `interval` seconds.

    When the platform does not answer, the screen keeps the last frame and says since when.
    """

    def __init__(self, control_socket: Path, interval: float, screen: Screen) -> None:
        self._control_socket = control_socket
        self._interval = interval
        self._screen = screen
        self._latest: Reading | None = None
        self._document: dict[str, Any] | None = None
        self._trouble = ""
        self._asked: float | None = None  # since when there is no answer
        self._sort = UNSORTED
        self._quit = asyncio.Event()

    async def run(self) -> None:
        """Follow the platform until the operator quits. Raises PlatformError when this client may
        not ask."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._quit.set)
        loop.add_signal_handler(signal.SIGWINCH, self._draw)
        when_pressed(loop.add_reader, self._take_keys)
        following = asyncio.create_task(self._follow())
        quitting = asyncio.create_task(self._quit.wait())
        ended, _ = await asyncio.wait({following, quitting}, return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        if following in ended:
            following.result()

    async def _follow(self) -> None:
        while True:
            begun = time.monotonic()
            await self._read()
            self._draw()
            await asyncio.sleep(max(0.0, begun + self._interval - time.monotonic()))

    async def _read(self) -> None:
        """Read the platform. While it is silent one question waits, not one more each second."""
        now = time.monotonic()
        self._asked = now if self._asked is None else self._asked
        reading = asyncio.create_task(read(self._control_socket))
        try:
            while not (await asyncio.wait({reading}, timeout=_PATIENCE))[0]:
                silent = duration(time.monotonic() - self._asked)
                self._trouble = f"The platform has not answered for {silent}."
                self._draw()
            latest = await reading
        except TimedOut:
            return
        except _PASSING as error:
            self._trouble = printable(error)
        else:
            self._document = view(self._latest, latest)
            self._latest, self._trouble = latest, ""
        finally:
            reading.cancel()
        self._asked = None

    def _draw(self) -> None:
        trouble = wrap(self._trouble, self._screen.width, break_on_hyphens=False)
        shown = [Text(line, "bold red") for line in trouble]
        if self._trouble and self._latest is not None:
            age = duration(max(0.0, time.time() - self._latest.at))
            shown.append(Text(f"This is how it was {age} ago:", "yellow"))
        height = max(0, self._screen.height - len(shown) - 1)
        if self._document is not None:
            shown += lines(self._document, self._screen.width, height, self._sort)[:height]
        elif not shown:
            shown.append(Text("reading …", "dim"))
        keys = Text(KEYS, "dim", no_wrap=True, overflow="ellipsis")
        self._screen.draw([*shown, keys])

    def _take_keys(self) -> None:
        try:
            keys = pressed()
        except (EOFError, OSError):  # the terminal is gone
            self._quit.set()
            return
        for key in keys:
            if key == "q":
                self._quit.set()
            elif key in _SORTS:
                self._sort = key
        self._draw()
