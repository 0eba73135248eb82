"""The credentials for the config service, which workers do not get.

Only the agent uses them. A plugin that is tricked into showing its environment must not reveal
them.
"""

from collections.abc import Mapping
from dataclasses import replace

from skep.base.logs.masking import mask_url
from skep.config.options.spelling import fold
from skep.config.options.table import Options, rows


def environment_of_workers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without credentials for the config service."""
    return {
        key: mask_url(value) if fold(key) in _ADDRESSES else value
        for key, value in environment.items()
        if fold(key) not in _SECRETS
    }


def options_of_workers(options: Options) -> Options:
    """Return the options without credentials for the config service."""
    return replace(
        options,
        config_secret=(),
        config_server=tuple(map(mask_url, options.config_server)),
        config_meta=tuple(map(mask_url, options.config_meta)),
    )


def _keys(*names: str) -> frozenset[str]:
    ours = [row for row in rows() if row.name in names]
    return frozenset(fold(key) for row in ours for key in (row.key, *row.aliases))


_SECRETS = _keys("config_secret")
# Without user and password; plugins may need the rest.
_ADDRESSES = _keys("config_server", "config_meta")
