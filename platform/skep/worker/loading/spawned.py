"""What a process that a plugin spawns by `multiprocessing` runs first: `plugins` is importable, so
its functions and classes can be sent to it, in a `Pool` too."""

import os
from pathlib import Path

from skep.worker.loading.loader import FOLDERS, install_parent

if __name__ == "__mp_main__":
    install_parent([Path(folder) for folder in os.environ[FOLDERS].split(os.pathsep) if folder])
