"""A crontab file, as Debian's cron reads that of a user (its crontab(5), env.c and do_command.c).

    CRON_TZ=Europe/Berlin
    # platform: name=backup timeout=1h overlap=skip
    30 2 * * *  pg_dump shop > /backup/shop.sql
    @daily      ./report --to ops%Dear operators,%all is well.

What the platform adds stands in comments, so that the file stays a valid crontab: the options after
`# platform:` hold for the next command.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import get_args
from zoneinfo import ZoneInfo

from skep.api.cron import Misfire, Overlap, seconds
from skep.api.cron_string import CronString
from skep.base.commands.command import executable
from skep.base.errors import CommandError, UsageError

SHELL = "/bin/sh"
GRACE = 60.0
REBOOT = "@reboot"
_VARIABLE = re.compile(r"""("[^"]*"|'[^']*'|[^\s="'#*@]+)\s*=\s*(.*)""", re.S)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMAND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OPTIONS = re.compile(r"#+\s*platform:(.*)", re.I)
_ENTRY = re.compile(r"(@\S+|\S+(?:\s+\S+){4})(?:\s+(.*))?", re.S)
_KNOWN = ("name", "timeout", "overlap", "misfire", "grace")


class CrontabError(UsageError):
    """A crontab file cannot be read, or has lines that are not valid; the text names each."""


@dataclass(frozen=True)
class CommandTerms:
    """What holds for the runs of a command: see `CronJob`, which has the same. All durations are
    seconds."""

    overlap: Overlap = "skip"
    misfire: Misfire = "skip"
    grace: float = GRACE
    timeout: float | None = None


@dataclass(frozen=True)
class ScheduledCommand:
    """One command of a crontab.

    `trigger` is None for `@reboot`. `script` is for the shell, `given` its standard input.
    `variables` are those that the file sets above the line.
    """

    name: str
    line: int
    schedule: str
    trigger: CronString | None
    script: str = field(repr=False)
    given: bytes = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    terms: CommandTerms = CommandTerms()

    @property
    def when(self) -> str:
        """When it is due, as a text that is the same as long as that is."""
        return f"{self.schedule} {self.trigger.zone}" if self.trigger else self.schedule


def parse(text: str, file: str, zone: tzinfo) -> tuple[ScheduledCommand, ...]:
    """Return the commands of a crontab; `zone` is the time zone of lines without a CRON_TZ above.

    Raises CrontabError with a sentence for each line that is not valid, beginning with file:line.
    """
    reader = _Reader(zone)
    problems = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        try:
            reader.read(line, number)
        except (ValueError, CommandError) as error:
            problems.append(f"{file}:{number}: {error}")
    if reader.options is not None:
        number = reader.options[0]
        problems.append(f"{file}:{number}: no command follows these options of the platform.")
    if problems:
        raise CrontabError("\n".join(problems))
    return tuple(reader.found)


class _Reader:
    """What the lines so far have set, and the commands found."""

    def __init__(self, zone: tzinfo) -> None:
        self.found: list[ScheduledCommand] = []
        self.options: tuple[int, dict[str, str]] | None = None
        self._zone = zone
        self._default_zone = zone
        self._variables: dict[str, str] = {}
        self._names: set[str] = set()

    def read(self, line: str, number: int) -> None:
        """Take the next line. Raises ValueError with a sentence, CommandError for the shell."""
        if "\0" in line:
            raise ValueError("the line has a NUL character.")
        line = line.strip(" \t\r")
        if options := _OPTIONS.fullmatch(line):
            if self.options is not None:
                raise ValueError("the options of the platform stand here twice for one command.")
            self.options = number, {}
            self.options = number, _options(options[1])
        elif not line or line.startswith("#"):
            return
        elif variable := _VARIABLE.fullmatch(line):
            self._set(_unquoted(variable[1]), _unquoted(variable[2].strip(" \t")))
        else:
            self._add(line, number)

    def _set(self, name: str, value: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a variable.")
        if name == "CRON_TZ":
            self._zone = _zone(value) if value else self._default_zone
        if name == "SHELL":
            executable([value], {})
        self._variables = {**self._variables, name: value}

    def _add(self, line: str, number: int) -> None:
        options, self.options = self.options[1] if self.options else {}, None
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(
                f"{line.split()[0]!r} begins neither a variable (NAME=value) nor a command, which "
                "takes five fields, or a word like @daily, before it."
            )
        schedule, rest = " ".join(entry[1].split()), entry[2]
        trigger = None if schedule.lower() == REBOOT else CronString(schedule, self._zone)
        if not rest:
            raise ValueError(f"no command follows {schedule!r}.")
        script, given = _split(rest)
        name = options.get("name") or self._free_name(_first_word(script))
        if name in self._names:
            raise ValueError(f"the name {name!r} is taken by another command above.")
        self._names.add(name)
        terms = _terms(options)
        self.found.append(
            ScheduledCommand(name, number, schedule, trigger, script, given, self._variables, terms)
        )

    def _free_name(self, word: str) -> str:
        names = (word, *(f"{word}-{n}" for n in range(2, 10_000)))
        return next(name for name in names if name not in self._names)


def _options(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in shlex.split(text):
        name, equals, value = part.partition("=")
        if name not in _KNOWN or not equals:
            raise ValueError(f"{part!r} is not an option; known: {'=, '.join(_KNOWN)}=.")
        found[name] = value
    if "name" in found and not _COMMAND_NAME.fullmatch(found["name"]):
        raise ValueError(
            f"{found['name']!r} is not a name; it takes letters, digits and . _ - (at most 64)."
        )
    _terms(found)
    return found


def _terms(options: Mapping[str, str]) -> CommandTerms:
    for name, choices in (("overlap", get_args(Overlap)), ("misfire", get_args(Misfire))):
        if name in options and options[name] not in choices:
            raise ValueError(f"{name} is {options[name]!r}, not one of {', '.join(choices)}.")
    return CommandTerms(
        overlap=options.get("overlap", "skip"),  # type: ignore[arg-type]  # checked above
        misfire=options.get("misfire", "skip"),  # type: ignore[arg-type]
        grace=_seconds("grace", options) or GRACE,
        timeout=_seconds("timeout", options),
    )


def _seconds(name: str, options: Mapping[str, str]) -> float | None:
    if name not in options:
        return None
    try:
        return seconds(options[name])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    # A name that is a folder of the zone database raises an OSError.
    except (KeyError, OSError, ValueError):
        raise ValueError(f"CRON_TZ is {name!r}, which is not a time zone known here.") from None


def _unquoted(text: str) -> str:
    if text[:1] not in ("'", '"'):
        return text
    if len(text) < 2 or text[-1] != text[0] or text[0] in text[1:-1]:
        raise ValueError(f"the quotes of {text[:40]!r} do not match.")
    return text[1:-1]


def _first_word(script: str) -> str:
    """Return the name of the program, for people; no variable is shown, it may be a secret."""
    for word in script.split():
        if "=" not in word and (name := os.path.basename(word)) and _COMMAND_NAME.fullmatch(name):
            return name
    return "command"


def _split(text: str) -> tuple[str, bytes]:
    """Return the command and its standard input: the first % ends the command, each further one is
    a newline; a backslash makes it an ordinary character."""
    script, escaped = "", False
    rest = iter(text)
    for character in rest:
        if character == "%" and not escaped:
            return script, _given(rest).encode(errors="surrogateescape")
        script = script[:-1] + "%" if character == "%" else script + character
        escaped = character == "\\" and not escaped
    return script, b""


def _given(rest: Iterator[str]) -> str:
    found, escaped = "", False
    for character in rest:
        if escaped and character != "%":
            found += "\\"
        elif not escaped and character == "%":
            character = "\n"
        escaped = character == "\\"
        found += "" if escaped else character
    found += "\\" if escaped else ""
    return found if found.endswith("\n") or not found else found + "\n"
