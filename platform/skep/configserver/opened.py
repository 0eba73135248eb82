"""The config server of one directory, ready to be served."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from skep.base.files.filelock import held
from skep.configserver.app import create_app
from skep.configserver.credentials import read_or_make_token
from skep.configserver.seed import seed
from skep.configserver.store import Store


@dataclass(frozen=True)
class Place:
    """Where a config server keeps its data, and what it is filled with at its first start.

    `app_id`, `cluster` and `namespaces` will find a release, if only an empty one.
    """

    directory: Path
    samples: Path
    app_id: str
    cluster: str
    namespaces: Sequence[str]


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Starlette]:
    """Open the database for the length of the block; yield the application that serves it.

    Raises AlreadyRunning when another process serves the directory, ConfigError when the token, the
    database or a sample cannot be used.
    """
    complaint = (
        f"Another config server uses {place.directory}: stop it, or give another --data-dir."
    )
    async with held(place.directory / "lock", complaint):
        token = read_or_make_token(place.directory / "token")
        with Store(place.directory / "config.db") as store:
            seed(store, place.samples, place.app_id, place.cluster, place.namespaces)
            yield create_app(store, token)
