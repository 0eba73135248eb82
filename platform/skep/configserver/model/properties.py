"""Java's `.properties` format, by the rules of `java.util.Properties`: `load` and `store`."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from skep.base.errors import ConfigError

_BLANK = " \t\f"
# A key ends at the first `=`, `:` or blank that no backslash stands before.
_PAIR = re.compile(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
# What `java.util.Properties.store` writes before these characters, wherever they stand.
_WRITTEN = {
    "\\": "\\\\",
    "\t": "\\t",
    "\n": "\\n",
    "\r": "\\r",
    "\f": "\\f",
    "=": "\\=",
    ":": "\\:",
    "#": "\\#",
    "!": "\\!",
}
_TO_JAVA = str.maketrans(_WRITTEN)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it is written, its `#` or `!` included; or a blank line, which has no text."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its value; `line` is the one it begins in, counted from 1."""

    key: str
    value: str
    line: int


def parse(text: str, source: str) -> list[Comment | Pair]:
    """Return what a properties file says, from top to bottom; of equal keys the last counts.

    Raises ConfigError, naming `source` and the line, for a broken \\u escape.
    """
    return [_entry(line, number, source) for number, line in _logical_lines(text)]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join the lines that end in a backslash with the next; number them by their first."""
    lines = re.split(r"\r\n|\n|\r", text)
    if not lines[-1]:
        lines.pop()
    numbered = enumerate((line.lstrip(_BLANK) for line in lines), 1)
    for number, line in numbered:
        # A comment never goes on in the next line, whatever it ends in.
        while _goes_on(line) and not _is_comment(line):
            line = line[:-1]
            _, following = next(numbered, (0, ""))
            line += following
        yield number, line


def _goes_on(line: str) -> bool:
    """Say whether the line ends in a backslash that is not itself escaped by one."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _is_comment(line: str) -> bool:
    return line.startswith(("#", "!"))


def _entry(line: str, number: int, source: str) -> Comment | Pair:
    if not line or _is_comment(line):
        return Comment(line, number)
    match = _PAIR.fullmatch(line)
    assert match is not None, "the pattern takes any line that does not end in a lone backslash"
    try:
        return Pair(_unescape(match[1]), _unescape(match[2]), number)
    except ValueError as error:
        raise ConfigError(f"{source}, line {number}: {error}") from error


def _unescape(text: str) -> str:
    plain = _ESCAPE.sub(_character, text)
    try:
        # Java's escapes are UTF-16: two of them may be the halves of one character.
        return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise ValueError("a \\u escape spells only one half of a character.") from error


def _character(escape: re.Match[str]) -> str:
    digits, letter = escape.groups()
    if digits:
        return chr(int(digits, 16))
    if letter == "u":
        raise ValueError("a \\u escape needs four hexadecimal digits.")
    return _CONTROLS.get(letter, letter)


def render(values: Mapping[str, str]) -> str:
    """Return the values as Java's `Properties.store(Writer)` writes them, without its comment."""
    return "".join(f"{_escape_key(key)}={_escape_value(text)}\n" for key, text in values.items())


def _escape_key(key: str) -> str:
    return key.translate(_TO_JAVA).replace(" ", "\\ ")


def _escape_value(value: str) -> str:
    # A reader skips blanks before a value; inside one they stand for themselves.
    escaped = value.translate(_TO_JAVA)
    return f"\\{escaped}" if escaped.startswith(" ") else escaped
