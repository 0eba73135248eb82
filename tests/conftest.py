"""What holds for all tests: where bytecode is kept, and what a run reports at its end."""

import os
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from tests.packages import MISSING

# The programs that tests start find the bytecode of the package, as on a user's machine: compiling
# it again takes more than a third of the CPU time of an acceptance test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Each HTTP client loads the trusted certificates, here and in the programs that tests start; the
# usual 140 of them take 20 ms. A test that speaks TLS says itself what it trusts.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "authorities.pem")
# How long an example takes is no fault of what is tested: the machine may do ten other things.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `tests/contract/apollo` be pointed at any Apollo-compatible server."""
    group = parser.getgroup("apollo", "the config service that tests/contract/apollo tests")
    group.addoption("--url", help="its address; without it, the tests start ours")
    group.addoption("--open-api-url", help="the address of its portal, if it is another")
    group.addoption("--admin-url", help="the address of its AdminService, if it is another")
    group.addoption(
        "--delay", type=float, default=2.0, help="seconds until its clients see a change"
    )
    group.addoption("--token", default="", help="a token that may write")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the packages that were missing, with the command that installs them."""
    reasons = (str(r.longrepr) for r in terminalreporter.stats.get("skipped", []))
    found = (reason.partition(MISSING)[2].partition(":")[0] for reason in reasons)
    missing = Counter(package for package in found if package)
    if missing:
        terminalreporter.section("tests skipped because a package is missing", sep="-")
        for package, tests in sorted(missing.items()):
            terminalreporter.line(f"{tests:5}  {package}")
        terminalreporter.line(f"To run them: apt-get install {' '.join(sorted(missing))}")
