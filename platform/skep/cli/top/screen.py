"""The terminal of `platform top`: what is drawn on it and the keys that are pressed there."""

import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_LONGEST_KEYS = 64
_ESCAPE = 0x1B


class Screen:
    """The whole terminal; it is given back as it was when the block of `open` ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, screen=True, auto_refresh=False,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    @property
    def width(self) -> int:
        """The number of columns now."""
        return self._console.width

    @property
    def height(self) -> int:
        """The number of lines now."""
        return self._console.height

    @contextmanager
    def open(self) -> Iterator[None]:
        """Take the terminal until the block ends."""
        with _unbuffered_keys(), self._live:
            yield

    def draw(self, lines: list[Text]) -> None:
        """Show these lines in place of what was there."""
        self._live.update(Group(*lines), refresh=True)


def pressed() -> str:
    """Return the keys that were pressed; nothing for an arrow and the like.

    Raises EOFError when the terminal is gone.
    """
    keys = os.read(sys.stdin.fileno(), _LONGEST_KEYS)
    if not keys:
        raise EOFError
    return "" if keys[0] == _ESCAPE else keys.decode("ascii", "replace")


def when_pressed(add_reader: Callable[..., Any], callback: Callable[[], None]) -> None:
    """Call back when a key is pressed, if standard input is a terminal."""
    if sys.stdin.isatty():
        add_reader(sys.stdin.fileno(), callback)


@contextmanager
def _unbuffered_keys() -> Iterator[None]:
    """Have the terminal deliver each key at once and not show it.

    Ctrl+C remains a signal. Ctrl+Z does nothing: the shell would get a terminal in this mode.
    """
    if not sys.stdin.isatty():
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    mode = termios.tcgetattr(number)
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    mode[6][termios.VSUSP] = b"\0"
    termios.tcsetattr(number, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
