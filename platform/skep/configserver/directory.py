"""The config server of one data directory."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from skep.base.files.filelock import held
from skep.base.rundir import RunDir
from skep.config.apollo.signing import AccessKey
from skep.config.env.secret_file import read_or_make_keys, read_or_make_token
from skep.config.options.endpoints import access_key
from skep.config.options.table import Options
from skep.configserver.application import create_app
from skep.configserver.portal.context import ended_people
from skep.configserver.portal.routes import portal
from skep.configserver.seed import seed
from skep.configserver.storage.database import ConfigDatabase
from skep.pages.accounts import Accounts

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Starlette]:
    """Open the database of a data directory for the block; yield its application.

    At its first start it is filled from the samples, with at least an empty release for each
    namespace. Clients must sign with a key of the file `access-key`, or of their app, unless the
    server is open. Raises AlreadyRunning when another process serves the directory, ConfigError
    when token, key, database or a sample cannot be used.
    """
    directory = RunDir(options.data_dir).configserver_dir
    complaint = f"Another config server uses {directory}: stop it, or give another --data-dir."
    if options.config_server_open:
        _log.warning("--open: every user of this machine can read what is published here.")
    async with held(directory / "lock", complaint):
        token = read_or_make_token(directory / "token")
        keys = None if options.config_server_open else _keys(access_key(directory))
        with (
            ConfigDatabase(directory / "config.db") as database,
            Accounts(RunDir(options.data_dir).accounts_file) as accounts,
        ):
            samples = Path(options.config_samples)
            seed(database, samples, options.app_id, options.cluster, options.namespace)
            hold = options.config_server_hold
            yield create_app(
                database,
                token,
                hold=hold,
                server_keys=keys,
                pages=portal(accounts, token),
                ended=lambda: ended_people(accounts),
            )


def _keys(path: Path) -> Callable[[], Sequence[str]]:
    """Return a function that returns the server's own keys, also after the file has changed."""
    read_or_make_keys(path)
    return AccessKey("", file=str(path)).secrets
