"""Memory of the whole idle tree."""

import shutil
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.platform_process import ROOT, running


def measure() -> list[Figure]:
    """Return the PSS of what `make start` runs, after a few seconds of rest."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("plugins", "config-samples"):
            shutil.copytree(ROOT / name, Path(folder, name))
        # As many workers as by default.
        defaults = {"PLATFORM_WEB_WORKERS": "0", "PLATFORM_TASK_WORKERS": "0"}
        with running(Path(folder), "--watch", **defaults) as platform:
            time.sleep(3)
            shares = {pid: pss(pid) for pid in platform.tree()}
    note = f"{len(shares)} processes"
    return [Figure("memory of the idle tree (PSS)", sum(shares.values()), "MB", 260, note)]


def pss(pid: int) -> float:
    """Return the megabytes of a process, its part of what is shared included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0
