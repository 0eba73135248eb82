"""A port of the platform's own when the process has no descriptor left."""

import resource
import socket
import subprocess
from pathlib import Path

import httpx

from tests.platform_process import COMMAND, Platform
from tests.support import free_port, wait_until


def test_without_descriptors_the_log_has_a_line_a_second(tmp_path: Path) -> None:
    """D23: it had thousands, each with a traceback; and it serves again when there are some."""
    port, platform = free_port(), Platform(tmp_path)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))  # noqa: E731
    with platform.log.open("ab") as log:
        serving = subprocess.Popen(
            [*COMMAND, "config-server", "--port", str(port)],
            cwd=tmp_path,
            env=platform.environment,
            stdout=log,
            stderr=log,
            preexec_fn=limit,
        )
    try:
        wait_until(lambda: "Serving" in platform.output())
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        wait_until(lambda: platform.output().count("no connection can be accepted") >= 2)
        lines = platform.output().splitlines()
        assert len(lines) < 20
        assert "Too many open files" in lines[-1]
        for client in crowd:
            client.close()
        assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "UP"}
        serving.terminate()
        assert serving.wait(20) == 0
        assert "Traceback" not in platform.output()
    finally:
        serving.kill()
        serving.wait(20)
