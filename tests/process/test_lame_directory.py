"""A data directory that takes no new file."""

import os
import subprocess
import sys
from pathlib import Path

from tests.packages import require_mounts
from tests.platform_process import ROOT


def test_web_workers_are_replaced_and_serve_without_push_where_no_socket_can_be_made(
    tmp_path: Path,
) -> None:
    """D12: no inode, or a read-only data directory: web workers are replaced, serve without push,
    and say so."""
    require_mounts()
    arguments = ["-m", "tests.process.lame_directory", str(tmp_path / "shop")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    command = ["unshare", "-m", sys.executable, "-P", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
