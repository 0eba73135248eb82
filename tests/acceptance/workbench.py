"""A running platform with the plugin `bench`, and what its tasks have written down."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from skep.base.rundir import RunDir
from skep.engine.contract import DeliveryRow, Engine
from skep.engine.embedded import Embedded
from tests.platform_process import ROOT, Platform
from tests.support import PATIENCE, wait_until

T = TypeVar("T")

PLUGIN = ROOT / "tests" / "acceptance" / "bench.py"


class Workbench:
    """Delivers to a platform and reads the diary of its tasks."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        # Making a client takes longer than asking; each question has a connection of its own.
        self._client = httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0))

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Any:
        """Ask a route of the plugin; return the JSON of its answer."""
        answer = self._client.post(f"{self.platform.url}/bench/{path}", json=body, headers=headers)
        return answer.raise_for_status().json()

    def deliver(self, task: str, *fields: Mapping[str, Any], **terms: Any) -> list[str]:
        """Deliver a batch in one web worker; return the ids."""
        answer = self.post("deliver", {"task": task, "fields": fields, "terms": terms})
        return [delivery for delivery, _ in answer["receipts"]]

    def diary(self, what: str = "", name: str = "") -> list[dict[str, Any]]:
        """Return the entries of one kind, and of one name."""
        path = self.platform.data_dir / "diary"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        return [
            entry
            for entry in entries
            if what in ("", entry["what"]) and name in ("", entry["name"])
        ]

    def names(self, what: str) -> list[str]:
        """Return the names of the entries of one kind."""
        return [entry["name"] for entry in self.diary(what)]

    def wait(self, what: str, name: str, count: int = 1, deadline: float = PATIENCE) -> Any:
        """Wait until something was written down so many times; return the entries."""
        wait_until(lambda: len(self.diary(what, name)) >= count, deadline, interval=0.02)
        return self.diary(what, name)

    def find(self, delivery: str) -> DeliveryRow | None:
        """Return what the store knows of a delivery, sooner than a verb could."""

        return self.ask(lambda engine: engine.find(delivery))

    def ask(self, question: Callable[[Engine], Awaitable[T]]) -> T:
        """Ask the store itself."""

        async def run() -> T:
            engine = Embedded(RunDir(self.platform.data_dir).store_socket, "test")
            await engine.open()
            try:
                return await question(engine)
            finally:
                await engine.close()

        return asyncio.run(run())

    def verb(self, *arguments: str) -> Any:
        """Run a verb with --json; return what it says."""
        done = self.platform.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def workbench(
    directory: Path, *arguments: str, plugins: Sequence[Path] = (), **environment: str
) -> Iterator[Workbench]:
    """A platform with two web and two task workers, unless the environment says otherwise."""
    settings = {"PLATFORM_TASK_WORKERS": "2", **environment}
    platform = Platform(directory, **settings)
    for plugin in (PLUGIN, *plugins):
        shutil.copy(plugin, platform.plugins / plugin.name)
    try:
        platform.start(*arguments)
        yield Workbench(platform)
    finally:
        platform.stop()
