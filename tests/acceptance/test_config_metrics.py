"""What the metrics say of the configuration in force, and how it got there."""

import time

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

DIAL = """
from skep import Live, Plugin, Settings

class DialSettings(Settings, prefix="DIAL_"):
    level: Live[int] = 1
    name: str = "dial"

plugin = Plugin(settings=[DialSettings])
"""
STAGES = ("notified_to_pulled", "pulled_to_written", "written_to_applied", "notified_to_applied")


@pytest.fixture
def dial(platform: Platform) -> Platform:
    (platform.plugins / "dial.py").write_text(DIAL)
    platform.publish_sample("DIAL_NAME = first\nDIAL_OLD = x\n")
    return platform.start("--app-id", "sample")


def values(platform: Platform, name: str) -> dict[str, float]:
    """All samples of one name on /metrics, by their labels."""
    start = f"platform_{name}"
    rows = [line.rpartition(" ") for line in platform.metrics().splitlines()]
    found = {key.removeprefix(start): v for key, _, v in rows if key.startswith(start)}
    return {labels: float(v) for labels, v in found.items() if labels[:1] in ("", "{")}


def release(platform: Platform) -> str:
    key: str = platform.status()["config"]["release_keys"]["application"]
    return key


def observed(platform: Platform, stage: str) -> tuple[float, float]:
    """How many observations of a stage there are, and their sum."""
    name, label = "config_propagation_seconds", f'{{stage="{stage}"}}'
    return values(platform, f"{name}_count")[label], values(platform, f"{name}_sum")[label]


def publish(platform: Platform, *assignments: str) -> None:
    """Publish, and see that it took effect once, when the clock on the wall says so."""
    before, key = observed(platform, "notified_to_applied"), release(platform)
    begun = time.time()
    platform.publish(*assignments)
    published = time.time()
    wait_until(lambda: release(platform) != key)
    wait_until(lambda: observed(platform, "notified_to_applied") != before)
    number, total = observed(platform, "notified_to_applied")
    applied = values(platform, "config_namespace_applied_timestamp_seconds")
    moment = applied['{namespace="application"}']
    assert begun <= moment <= time.time()
    assert number == before[0] + 1
    assert moment - published - 1 <= total - before[1] <= moment - begun + 1
    # And there is one release of the namespace
    (label,) = values(platform, "config_info")
    assert f'release="{release(platform)}"' in label


def test_each_release_that_is_applied_is_observed_once(dial: Platform) -> None:
    """Metrics, case 38."""
    for assignments in (("DIAL_NAME=second",), ("DIAL_LEVEL=2",), ("DIAL_LEVEL=2",)):
        publish(dial, *assignments)
    outcomes = {k: v for k, v in values(dial, "config_applies_total").items() if v}
    assert outcomes == {'{outcome="applied"}': 2, '{outcome="live"}': 1, '{outcome="noop"}': 1}
    # One that is refused is not, and the one before it is still in force
    since = values(dial, "config_namespace_applied_timestamp_seconds")
    dial.publish("DIAL_LEVEL=soon")
    wait_until(lambda: dial.status()["refused"])
    assert {observed(dial, stage)[0] for stage in STAGES if "notified" in stage} == {3}
    assert values(dial, "config_namespace_applied_timestamp_seconds") == since


def test_a_release_is_in_force_since_it_was_first_applied(dial: Platform) -> None:
    name = "config_namespace_applied_timestamp_seconds"
    since = values(dial, name)
    dial.cli("stop")
    dial.wait_end()
    dial.start("--app-id", "sample")
    assert values(dial, name) == since


def test_the_keys_that_change_are_counted_by_kind(dial: Platform) -> None:
    kinds = {f'{{kind="{kind}"}}': 0.0 for kind in ("added", "modified", "removed")}
    assert values(dial, "config_keys_changed_total") == kinds
    publish(dial, "DIAL_NAME=second", "DIAL_NEW=x")
    publish(dial, "--delete", "DIAL_OLD")
    assert values(dial, "config_keys_changed_total") == dict.fromkeys(kinds, 1.0)


def test_a_file_that_cannot_be_written_is_counted(dial: Platform) -> None:
    assert values(dial, "config_env_write_errors_total") == {"": 0}
    # Given a link to nowhere where .env was
    dial.env_file.unlink()
    dial.env_file.symlink_to(dial.directory / "missing" / ".env")
    dial.publish("DIAL_NAME=second")
    refused = wait_until(lambda: dial.status()["refused"])
    assert refused["problems"][0]["stage"] == "commit"
    assert values(dial, "config_env_write_errors_total") == {"": 1}
