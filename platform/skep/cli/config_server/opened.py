"""The config server's file, whether a server runs on it or not."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from skep.base.errors import ConfigError
from skep.cli.platform_handle import PlatformHandle
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.model.rights import Actor, system_actor
from skep.configserver.storage.database import ConfigDatabase


@contextmanager
def opened(platform: PlatformHandle) -> Iterator[EditingDesk]:
    """Open the file of the platform's data directory; a server that runs sees at once what changes.
    Raises ConfigError if there is none, or it cannot be used."""
    path = platform.run_dir.configserver_dir / "config.db"
    if not path.exists():
        raise ConfigError(
            f"There is no config server's file at {path}: start one there, or give its --data-dir."
        )
    with ConfigDatabase(path) as database:
        yield EditingDesk(database)


def operator() -> Actor:
    """Return the user of the command line, who can read the file and so may do everything."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = f"uid {os.getuid()}"
    return system_actor(name)
