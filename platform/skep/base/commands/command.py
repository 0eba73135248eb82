"""What is run: a program that is not Python code of ours."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skep.base.errors import CommandError
from skep.base.system.privileges import Identity


@dataclass(frozen=True)
class ExternalCommand:
    """A program, its arguments, and what it is given.

    `argv` begins with the program: a path, or a name that is looked up in PATH of `environment`.
    Arguments are visible to every user of the machine in `ps`, so secrets belong in `environment`,
    which is all that the program gets. `directory` is where it runs, `user` whom it becomes, which
    requires root. `given` is its standard input. `grace` is how many seconds its process group has
    between SIGTERM and SIGKILL when its host is gone, and what it left in the group when it ended.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: str = "."
    user: Identity | None = None
    given: bytes = field(default=b"", repr=False)
    grace: float = 5.0


def executable(argv: Sequence[str], environment: Mapping[str, str], directory: str = ".") -> str:
    """Return the path of the program of a command. Raises CommandError with a sentence that names
    the program if there is none, or if it is not executable."""
    if not argv or not argv[0]:
        raise CommandError("The command is empty; it takes a program and its arguments.")
    program = argv[0]
    if any("\0" in argument for argument in argv):
        raise CommandError(f"The command {program!r} has a NUL character in an argument.")
    if os.sep not in program:
        path = environment.get("PATH", os.defpath)
        if found := shutil.which(program, path=path):
            return os.path.abspath(found)
        raise CommandError(f"There is no executable {program!r} in PATH ({path}).")
    place = Path(directory, program).absolute()
    if not place.exists():
        raise CommandError(f"There is no file {program!r} to execute ({place}).")
    if not place.is_file():
        raise CommandError(f"{program!r} is not a file, so it cannot be executed ({place}).")
    if not os.access(place, os.X_OK):
        raise CommandError(f"{program!r} is not executable; chmod +x {place} makes it so.")
    return str(place)
