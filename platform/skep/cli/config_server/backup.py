"""`platform config-server backup`."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import click

from skep.base.errors import UsageError
from skep.cli.config_server.opened import opened
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.env import atomic


@verb("backup")
@click.argument("file", type=click.Path(path_type=Path))
def backup(platform: PlatformHandle, file: Path) -> None:
    """Copy everything that the config server has into a new FILE, also while it runs.

    To restore it, stop the server and put the file in the place of configserver/config.db.
    """
    if file.exists():
        raise UsageError(f"{file} exists: give the name of a new file.")
    draft = file.with_name(f".{file.name}.draft")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with opened(platform) as desk, closing(sqlite3.connect(draft)) as copy:
            desk.database.reader.backup(copy)
        os.link(draft, file)
        atomic.sync(file.parent)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"Copied to {file}.")
