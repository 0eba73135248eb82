"""Loading without serving: real zygotes, and nothing that is left of them."""

import os
import time
from pathlib import Path

from skep.config.snapshots.archive import Archive
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.rollout.dry_run import attempt
from skep.wire.plan import Plan, Problem
from tests.support import wait_until


def trial(directory: Path, code: str, **flags: object) -> Plan | tuple[Problem, ...]:
    plugins = directory / "plugins"
    plugins.mkdir()
    (plugins / "one.py").write_text(code)
    archive = Archive(directory / "config", "sample", "default", ("application",))
    chosen = {"plugins": (str(plugins),), **flags}
    configurations = Configurations(
        dict(os.environ), chosen, directory / ".env", directory, archive
    )
    return attempt(configurations.of(None))


def test_what_loads_is_told_with_its_plan(tmp_path: Path) -> None:
    found = trial(tmp_path, "from skep import Plugin\nplugin = Plugin()\n")
    assert isinstance(found, Plan)
    assert found.plugins == ("one",)


def test_a_zygote_that_dies_is_told_with_how_and_takes_its_children_along(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "os._exit(7)\n"
    )
    found = trial(tmp_path, code)
    assert isinstance(found, tuple)
    assert str(found[0]) == "The zygote exited with 7 while it loaded."
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not _alive(child))


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    found = trial(tmp_path, "import time\ntime.sleep(60)\n", boot_timeout=0.5)
    assert isinstance(found, tuple)
    assert "0.5 s" in found[0].message
    assert time.monotonic() - began < 30


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
