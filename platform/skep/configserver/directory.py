"""The config server of one data directory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from skep.base.files.filelock import held
from skep.base.rundir import RunDir
from skep.config.options.table import Options
from skep.configserver.application import create_app
from skep.configserver.credentials import read_or_make_token
from skep.configserver.seed import seed
from skep.configserver.storage.database import ConfigDatabase


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Starlette]:
    """Open the database of a data directory for the block; yield its application.

    At its first start it is filled from the samples, with at least an empty release for each
    namespace. Raises AlreadyRunning when another process serves the directory, ConfigError when
    token, database or a sample cannot be used.
    """
    directory = RunDir(options.data_dir).configserver_dir
    complaint = f"Another config server uses {directory}: stop it, or give another --data-dir."
    async with held(directory / "lock", complaint):
        token = read_or_make_token(directory / "token")
        with ConfigDatabase(directory / "config.db") as database:
            samples = Path(options.config_samples)
            seed(database, samples, options.app_id, options.cluster, options.namespace)
            yield create_app(database, token)
