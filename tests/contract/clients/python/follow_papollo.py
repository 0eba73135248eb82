"""Print what papollo sees of each namespace, at first and after each change, in asyncio."""

import asyncio
import json
import os
from collections.abc import Mapping

from papollo import ApolloError, AsyncApollo


def show(namespace: str, before: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Print one namespace."""
    print(json.dumps({"namespace": namespace, "values": dict(values)}), flush=True)


async def main() -> None:
    """Read all namespaces and follow them until the process is killed."""
    client = AsyncApollo(
        os.environ["SERVER"],
        os.environ["APP_ID"],
        cluster=os.environ["CLUSTER"],
        secret=os.environ["SECRET"] or None,
        cache_dir=os.environ["CACHE_DIR"],
        watch=True,
    )
    client.add_listener(show)
    for namespace in os.environ["NAMESPACES"].split(","):
        try:
            show(namespace, {}, await client.namespace(namespace))
        except ApolloError:
            show(namespace, {}, {})
    await asyncio.Event().wait()


asyncio.run(main())
