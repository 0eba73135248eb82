"""The system packages that some tests need, and what happens where one is missing.

On a machine of one's own such a test is skipped and names its package; with CI=true it fails.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

# The program that a test runs, and Debian's package that has it.
PACKAGES = {
    "apache2": "apache2",
    "bash": "bash",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "dash": "dash",
    "faketime": "faketime",
    "git": "git",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "ps": "procps",
    "systemd": "systemd",
    "unshare": "util-linux",
}
# The languages of clients that are tried with our config server. Many machines have them from
# elsewhere than Debian, so `.ci/run` installs only those that are missing.
LANGUAGES = {
    "go": "golang-go",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "node": "nodejs",
    "npm": "npm",
}
# How a skip for a missing package begins; the summary at the end of a run looks for it.
MISSING = "missing package "
# Debian keeps servers and libraries where an ordinary user's PATH does not look.
_ELSEWHERE = ("/usr/sbin", "/usr/lib/systemd", "/usr/local/go/bin")


def require(program: str) -> str:
    """Return the path of a program. Where it is missing, skip the test; with CI=true, fail it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ELSEWHERE))
    found = shutil.which(program, path=path)
    if found is None:
        _missing({**PACKAGES, **LANGUAGES}[program])
    return str(found)


@functools.cache  # the search takes a second, and hypothesis asks for every example
def systemd_library() -> Path:
    """Return systemd's own library; skip or fail as `require` does where it is not installed."""
    found = sorted(Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so"))
    if not found:
        _missing(PACKAGES["systemd"])
    return found[0]


def faketime_library() -> Path:
    """Return the library that shows a process another time of day; skip or fail as `require`."""
    require("faketime")
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def require_mounts() -> None:
    """Skip the test unless it may mount in a namespace of its own, which requires root."""
    if not may_mount():
        pytest.skip("mounting requires root and a mount namespace")


def may_mount() -> bool:
    """Return whether this process may mount in a namespace of its own."""
    command = [require("unshare"), "-m", "true"]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


def _missing(package: str) -> None:
    give_up(f"{MISSING}{package}: apt-get install {package}")


def give_up(reason: str) -> None:
    """Skip the test because this machine lacks something; with CI=true, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
