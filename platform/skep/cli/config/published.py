"""What is published on the config server that a platform follows."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import click

from skep.base.errors import UsageError
from skep.cli.platform_handle import PlatformHandle
from skep.config.apollo.client import Apollo
from skep.config.errors import ApolloError, TooSlow
from skep.config.options.table import Options
from skep.config.snapshots.archive import Policy, StartSource
from skep.config.snapshots.pulled import Assembly, Pulled
from skep.config.snapshots.snapshot import Release

# The settings that choose whose configuration is read, and from which server.
SOURCE = (
    *("config_server", "config_meta", "config_secret_file", "config_ca", "config_ip"),
    *("app_id", "cluster", "data_center", "config_label", "namespace"),
)


def pull(
    platform: PlatformHandle, drafts: Mapping[str, Release] = MappingProxyType({})
) -> Assembly:
    """Return what is published, or a draft in its place; a namespace without a usable release keeps
    what it has. Raises ConfigError, and UsageError if there is no server to ask."""
    options = platform.options
    if not options.has_service:
        raise UsageError(
            "No config server is known: name one with --config-server. The platform's own config "
            "server runs only while the platform does."
        )
    policy = options.config_policy
    if policy == "require" and platform.status is not None:
        policy = "cache"  # what runs has started already
    start_source = StartSource(platform.archive, platform.env_file, cast("Policy", policy))
    pulled = asyncio.run(_pull(options))
    pulled = replace(pulled, found={**pulled.found, **drafts})
    return pulled.assemble(lambda name, error: start_source.kept(name))


def release_key(platform: PlatformHandle, namespace: str) -> str:
    """Return the key of the published release of a namespace. Raises ConfigError."""
    options = replace(platform.options, namespace=(namespace,))
    found = asyncio.run(_pull(options)).found[namespace]
    if isinstance(found, ApolloError):
        raise found
    return found.release_key


def print_held(assembly: Assembly) -> None:
    """Print to standard error which namespaces differ from what is published, and why."""
    for held in assembly.held:
        click.echo(held.sentence, err=True)


async def _pull(options: Options) -> Pulled:
    apollo = Apollo.of(options)
    try:
        async with asyncio.timeout(options.config_timeout):
            return await apollo.pull()
    except TimeoutError:
        seconds = options.config_timeout
        text = f"The config server {apollo.url} did not answer within {seconds:g} s."
        raise TooSlow(text) from None
    finally:
        await apollo.close()
