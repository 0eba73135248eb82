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

    The accounts of people, if there are any, go into a second new file, FILE.accounts. To restore
    both, stop the server and put them in the places of configserver/config.db and accounts.db.
    """
    people, accounts = file.with_name(f"{file.name}.accounts"), platform.run_dir.accounts_file
    for new in (file, people):
        if new.exists():
            raise UsageError(f"{new} exists: give the name of a new file.")
    with opened(platform) as desk:
        # The accounts first: if one of the two cannot be copied, there is no FILE.
        if accounts.exists():
            with closing(sqlite3.connect(accounts)) as source:
                _copy(source, people)
            click.echo(f"Copied the accounts to {people}.")
        _copy(desk.database.reader, file)
    click.echo(f"Copied to {file}.")


def _copy(source: sqlite3.Connection, file: Path) -> None:
    """Copy an open database into a new file, for its owner alone."""
    draft = file.with_name(f".{file.name}.draft")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
        os.link(draft, file)
        atomic.sync(file.parent)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
    except sqlite3.Error as error:
        raise UsageError(f"{file} cannot be written: {error}.") from error
    finally:
        draft.unlink(missing_ok=True)
