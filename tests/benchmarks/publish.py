"""From a publish until it is applied: with a rollout, live, and with many namespaces."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from skep.base.rundir import RunDir
from skep.config.apollo.openapi import OpenApiClient
from skep.wire import control
from tests.benchmarks.figures import Figure, median, percentile, spread
from tests.faulty import TinyApollo
from tests.platform_process import Platform, running

ROLLOUTS, LIVE = 60, 200
NAMESPACES, KEYS, ROUNDS = 50, 200, 5
# What lets the old workers of a rollout go, so that the next round starts from rest.
REST = 0.3

PLUGIN = """
from skep import Live, Plugin, Settings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

class Shown(Settings):
    fixed: int = 0
    live: Live[int] = 0

async def show(request: Request):
    return JSONResponse([Shown.current().fixed, Shown.current().live])

plugin = Plugin(routes=[Route("/", show)], settings=[Shown])
"""


def measure() -> list[Figure]:
    """Return how long it takes with 2 web workers and 1 task worker."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "plugins").mkdir()
        (directory / "plugins" / "shown.py").write_text(PLUGIN)
        with running(directory) as platform, closing(Publisher(platform)) as publisher:
            rollouts = [publisher.rolled_out(n) for n in range(1, ROLLOUTS + 1)]
            lives = [publisher.live(n) for n in range(1, LIVE + 1)]
    return [
        *_figures("publish until every worker is new", rollouts, 0.8, 2.0),
        *_figures("publish until a live field is new", lives, 0.05, 0.15),
        *many_namespaces(),
    ]


def many_namespaces() -> list[Figure]:
    """Return how long 10 000 keys take: from the first pull of a start until it is ready, and from
    a publish in every namespace until it is applied."""
    names = [f"part{number:02}" for number in range(NAMESPACES)]
    arguments = [word for name in names for word in ("--namespace", name)]
    with tempfile.TemporaryDirectory() as folder, TinyApollo() as server:
        platform = Platform(Path(folder))
        (platform.plugins / "shown.py").write_text(PLUGIN)
        publish_everywhere(server, names, 0)
        platform.start("--config-server", server.url, "--app-id", "bench", *arguments)
        first = time.monotonic() - server.requests[0].at
        try:
            times = [everywhere(platform, server, names, number) for number in range(1, ROUNDS + 1)]
        finally:
            platform.stop()
    what = f"{NAMESPACES} namespaces of {KEYS} keys"
    return [
        Figure(f"{what}: first pull until ready", first, "s", 2.0),
        Figure(f"{what}: published until applied", median(times), "s", 2.0, spread(times)),
    ]


def publish_everywhere(server: TinyApollo, names: list[str], number: int) -> None:
    """Publish a release with all its keys in every namespace."""
    for name in names:
        keys = {f"{name.upper()}_KEY_{key}": f"value {number}" for key in range(KEYS)}
        server.publish(name, **keys)


def everywhere(platform: Platform, server: TinyApollo, names: list[str], number: int) -> float:
    """Publish in every namespace; return the seconds until the newest is in force."""
    socket = RunDir(platform.data_dir).control_socket
    start = time.perf_counter()
    publish_everywhere(server, names, number)
    newest = set(server.release_keys().values())
    while set(control.call(socket, "status")["config"]["release_keys"].values()) != newest:
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    time.sleep(REST)
    return seconds


class Publisher:
    """Publishes on a platform's own config server and waits until that is applied."""

    def __init__(self, platform: Platform) -> None:
        token = (platform.data_dir / "configserver" / "token").read_text().strip()
        self._socket = RunDir(platform.data_dir).control_socket
        self._server = OpenApiClient(self.config()["url"], token)

    def close(self) -> None:
        """Close the connection to the config server."""
        self._server.__exit__(None, None, None)

    def rolled_out(self, number: int) -> float:
        """Publish a key that takes a rollout; return the seconds until the commit."""
        generation = self.status()["generation"]
        seconds = self._publish("FIXED", str(number), lambda: self.status()["generation"])
        assert self.status()["generation"] == generation + 1
        time.sleep(REST)
        return seconds

    def live(self, number: int) -> float:
        """Publish a live key; return the seconds until every worker has acknowledged it."""
        generation = self.status()["generation"]
        seconds = self._publish("LIVE", str(number), lambda: self.config()["release_keys"])
        assert self.status()["generation"] == generation
        return seconds

    def status(self) -> Any:
        """Return the status document."""
        return control.call(self._socket, "status")

    def config(self) -> Any:
        """Return its part on the configuration."""
        return self.status()["config"]

    def _publish(self, key: str, value: str, look: Callable[[], Any]) -> float:
        where = ("sample", "default", "application")
        self._server.set_item(*where, key, value, "bench")
        before = look()
        start = time.perf_counter()
        self._server.publish(*where, "bench", "bench")
        while look() == before:
            time.sleep(0.002)
        return time.perf_counter() - start


def _figures(name: str, times: list[float], middle: float, high: float) -> list[Figure]:
    return [
        Figure(f"{name}, p50", median(times), "s", middle, spread(times)),
        Figure(f"{name}, p99", percentile(times, 0.99), "s", high),
    ]
