"""A program with a third-party client: it prints a line for each namespace and each change."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.clients.builds import GO, JAVA, NODE, PYTHON, Build
from tests.support import wait_until

# Seconds. Some clients pause before they ask again.
PATIENCE = 60.0
JVM = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", "classes:lib/*")


@dataclass(frozen=True)
class Client:
    """A client and the program that follows namespaces with it. `signs`: it knows access keys.
    `flattens`: it shows the values of a yaml file by their paths, not the file's text."""

    name: str
    build: Build
    command: Sequence[str]
    signs: bool = True
    flattens: bool = False

    def __str__(self) -> str:
        return self.name


CLIENTS = (
    Client("java", JAVA, (*JVM, "Follow")),
    Client("apollocfg", PYTHON, (sys.executable, "follow_apollocfg.py")),
    Client("papollo", PYTHON, (sys.executable, "follow_papollo.py")),
    Client("ctrip-apollo", NODE, ("node", "follow_ctrip_apollo.js"), signs=False),
    Client("ctrip-apollo-client", NODE, ("node", "follow_ctrip_apollo_client.js")),
    Client("agollo", GO, ("./follow",), flattens=True),
)


@dataclass
class Following:
    """A running program and what it has printed."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def values(self, namespace: str) -> Mapping[str, str] | None:
        """Return what the program saw last of a namespace, if it has printed that."""
        found = None
        for line in lines(self.output):
            if line["namespace"] == namespace:
                found = line["values"]
        return found

    def await_values(self, namespace: str, values: Mapping[str, str]) -> None:
        """Wait until the program sees just these values."""
        # What fails below shows the program's log too.
        with suppress(AssertionError):
            wait_until(lambda: self.values(namespace) == values or self._ended(), PATIENCE)
        seen = self.values(namespace)
        assert seen == values, f"{namespace}: saw {seen!r}\n{self.log.read_text()[-4000:]}"

    def _ended(self) -> bool:
        return self.process.poll() is not None


def lines(output: Path) -> list[dict[str, Any]]:
    """Return the objects in what a program has printed; clients print other lines too."""
    complete = output.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in complete if line.startswith("{")]


@contextmanager
def following(
    client: Client, url: str, app_id: str, namespaces: Sequence[str], secret: str, directory: Path
) -> Iterator[Following]:
    """Run the client's program; it keeps its cache in a directory of its own below `directory`."""
    cache = directory / "cache"
    cache.mkdir()
    output, log = directory / "output", directory / "log"
    asks = {"NAMESPACES": ",".join(namespaces), "SECRET": secret, "CACHE_DIR": str(cache)}
    with output.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            client.command,
            cwd=client.build.directory(),
            env=environment(SERVER=url, APP_ID=app_id, CLUSTER="default", **asks),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield Following(process, output, log)
    finally:
        process.kill()
        process.wait()


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a program: no proxy, and the packages of the Python programs."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return {**kept, "PYTHONPATH": "packages", **variables}
