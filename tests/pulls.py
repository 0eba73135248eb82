"""Pulling for tests: what a client gets that has nothing else to fall back to."""

from skep.config.apollo.client import Apollo
from skep.config.snapshots.snapshot import Snapshot


async def pull(apollo: Apollo, full: bool = False) -> Snapshot:
    """Return the snapshot of all namespaces; raise the error of the first that has no usable
    release."""
    return (await apollo.pull(full)).assemble().snapshot()
