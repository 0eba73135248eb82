"""The programs in the folders beside this file, built once and kept in `.clients`."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.packages import give_up, require
from tests.platform_process import ROOT

SOURCES = Path(__file__).parent
KEPT = ROOT / ".clients"
DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


@dataclass(frozen=True)
class Build:
    """The programs of one language: `folder` has them and what pins the packages they need."""

    folder: str
    tools: Sequence[str]
    make: Callable[[Path], None]

    def directory(self) -> Path:
        """Return the directory of the built programs; build them unless that is done.

        Skip the test where a tool is missing; with CI=true, fail it.
        """
        for tool in self.tools:
            require(tool)
        built = KEPT / f"{self.folder}-{_digest(SOURCES / self.folder)}"
        with _only_one(self.folder):
            if not built.exists():
                self._build(built)
        return built

    def _build(self, built: Path) -> None:
        draft = KEPT / f"{self.folder}.draft"
        for old in (draft, *KEPT.glob(f"{self.folder}-*")):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(SOURCES / self.folder, draft)
        self.make(draft)
        draft.rename(built)


def _digest(folder: Path) -> str:
    sources = sorted(path for path in folder.iterdir() if path.is_file())
    texts = (path.name.encode() + b"\0" + path.read_bytes() for path in sources)
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    """Let one process at a time build: the tests run in several."""
    KEPT.mkdir(exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(directory: Path, *command: str) -> None:
    go = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [require(command[0]), *command[1:]],
        cwd=directory,
        env={**os.environ, **go},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        # A machine that reaches no registry has nothing to build from.
        give_up(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")


def _make_java(directory: Path) -> None:
    _run(directory, "mvn", "-q", "-B", DEPENDENCIES, "-DoutputDirectory=lib")
    jars = sorted((directory / "lib").iterdir())
    found = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}" for jar in jars]
    assert found == (directory / "checksums.txt").read_text().splitlines()
    sources = [path.name for path in directory.glob("*.java")]
    _run(directory, "javac", "-encoding", "UTF-8", "-cp", "lib/*", "-d", "classes", *sources)


def _make_node(directory: Path) -> None:
    _run(directory, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def _make_go(directory: Path) -> None:
    _run(directory, "go", "build", "-o", "follow", ".")


def _make_python(directory: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    exactly = ("--no-deps", "--require-hashes", "--requirement", "requirements.txt")
    _run(directory, *pip, *exactly, "--target", "packages")


JAVA = Build("java", ("javac", "java", "mvn"), _make_java)
NODE = Build("node", ("node", "npm"), _make_node)
GO = Build("go", ("go",), _make_go)
PYTHON = Build("python", (), _make_python)
