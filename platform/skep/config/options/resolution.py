"""How the value of a setting is found, and what of it workers get.

A command-line flag wins over the `PLATFORM_*` key, the key over the names that other clients of
Apollo have for it, those over the default. The keys come from the layered environment, whatever
their case. The foreign names count in the process environment only: an app may have a key of its
own called `APP_ID`.

Workers get no credentials for the config service: only the agent uses them, and a plugin that is
tricked into showing its environment must not reveal them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skep.base.errors import UsageError
from skep.base.logs.masking import mask_url
from skep.config.options import crons, endpoints, queues
from skep.config.options.row import check, given, read
from skep.config.options.spelling import fold, folded
from skep.config.options.table import Options, rows

# The app on the embedded config server, where there is no other.
_OWN_APP = "sample"


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], base: Mapping[str, str] | None = None
) -> Options:
    """Return the options that follow from the command line and the layered environment.

    `flags` holds what was given on the command line, by field name; `base` is the process
    environment, if that is not all. Raises UsageError naming the key whose text does not fit.
    """
    base = environment if base is None else base
    environment = folded(environment)
    found: dict[str, Any] = {}
    for row in rows():
        alias = next((name for name in row.aliases if base.get(name)), "")
        key = row.key if row.key in environment else alias
        if flags.get(row.name) not in (None, ()):
            found[row.name] = given(row, flags[row.name])
        elif key:
            found[row.name] = read(row, key, (environment if key == row.key else base)[key])
        check(row, found.get(row.name, row.default))
    options = Options(**found)
    if not options.kinds_here:
        raise UsageError(
            "PLATFORM_KINDS is cron alone and PLATFORM_CRON is off: this machine would run nothing."
        )
    queues.parse(options.queues)
    crons.parse(options.crons)
    endpoints.check(options)
    if options.has_service and not options.app_id:
        raise UsageError("--app-id is required with --config-server or --config-meta.")
    return replace(options, app_id=options.app_id or _OWN_APP)


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
