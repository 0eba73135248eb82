"""What a verb knows of the platform it is for."""

import os
from collections.abc import Mapping
from typing import Any

from skep.base.rundir import RunDir
from skep.config.options import Options, resolve


def own_options(flags: Mapping[str, Any]) -> Options:
    """Return the options that follow from the flags and this process's environment alone."""
    return resolve(flags, os.environ)


def run_dir_of(flags: Mapping[str, Any]) -> RunDir:
    """Return the data directory named by --data-dir, PLATFORM_DATA_DIR or the default."""
    return RunDir(flags.get("data_dir") or os.environ.get("PLATFORM_DATA_DIR") or Options.data_dir)
