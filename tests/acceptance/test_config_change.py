"""A published configuration is applied everywhere or visibly refused, and nobody notices."""

import json
import time

import pytest
from dotenv import dotenv_values

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

PROBE = """
import json, os
from pathlib import Path
from skep import Plugin, Task, Worker, cron
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

def dump():
    folder = Path(os.environ["PLATFORM_DATA_DIR"])
    name = Worker.current().name
    (folder / f"{name}.part").write_text(json.dumps(dict(os.environ)))
    (folder / f"{name}.part").rename(folder / f"{name}.environ")

class Dump(Task):
    async def handle(self, ctx):
        dump()

@cron(every="50ms")
def dump_in_cron(tick):
    dump()

async def show(request: Request):
    await Dump().deliver()
    dump()
    return JSONResponse({})

plugin = Plugin(routes=[Route("/", show)], tasks=[Dump], crons=[dump_in_cron])
"""

AWKWARD = {
    "A_SINGLE": "it's",
    "A_DOUBLE": 'say "hi"',
    "A_BOTH": """it's "both" `and` more""",
    "A_HASH": "a #no comment",
    "A_HASH_FIRST": "#not a comment",
    "A_DOLLAR": "$HOME costs $5",
    "A_BRACES": "${HOME}",
    "A_DEFAULT": "${UNSET:-fallback}",
    "A_NEWLINE": "first\nsecond\n",
    "A_CRLF": "first\r\nsecond",
    "A_BACKSLASH": "C:\\new\\table\\",
    "A_EMOJI": "🐝 from the hive",
    "A_BLANKS": "  both ends  ",
    "A_TAB": "\ttab",
    "A_EMPTY": "",
    "A_EQUALS": "a=b=c",
    "A_JSON": '{"key": ["value", null]}',
    "A_NBSP": "\u00a0x\u2028y",
    "A_MARKER": "# <<< platform managed <<<",
    "A_PEM": "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n",
}


def test_a_release_reaches_every_worker_without_a_failed_request(sampled: Platform) -> None:
    sampled.start()
    before = sampled.pids("web.")
    release = sampled.status()["config"]["release_keys"]["application"]
    with Load(sampled.url) as load:
        wait_until(lambda: {a.body["pid"] for a in load.answers} == set(before.values()))
        sampled.publish("GREETING=Good evening")
        wait_until(lambda: sampled.status()["generation"] == 2)
        after = sampled.pids("web.")
        new = {pid for name, pid in after.items() if name.endswith("@2")}
        settled = time.monotonic()
        wait_until(lambda: new <= {b["pid"] for b in load.bodies(since=settled)})
    # Nothing failed, on fresh or on kept-alive connections, and the workers are others
    assert load.failures == []
    assert len(new) == 2
    assert not new & set(before.values())
    # On fresh connections one version answers at a time
    fresh = [a.body["greeting"] for a in load.answers if a.way == "fresh" and a.asked > settled]
    assert fresh
    assert set(fresh) == {"Good evening"}
    # What a retiring worker answered ended its connection
    late = [a for a in load.answers if a.asked > settled and a.body["pid"] not in new]
    assert all(a.last for a in late)
    # The file and the metrics tell the same
    new_release = sampled.status()["config"]["release_keys"]["application"]
    assert new_release != release
    assert dotenv_values(sampled.env_file)["GREETING"] == "Good evening"
    assert new_release in sampled.env_file.read_text()
    assert f'release="{new_release}"' in sampled.metrics()
    assert f'release="{release}"' not in sampled.metrics()
    stage = 'platform_config_propagation_seconds_count{stage="notified_to_applied"}'
    assert f"{stage} 1" in sampled.metrics()


def test_a_value_that_a_plugin_cannot_use_is_refused_and_the_next_one_applies(
    sampled: Platform,
) -> None:
    """Lifecycle, case 23."""
    sampled.start()
    file, pids = sampled.env_file.read_bytes(), sampled.pids()
    with Load(sampled.url) as load:
        sampled.publish("ORDERS_RECEIPT_DELAY=soon")
        refused = wait_until(lambda: sampled.status()["refused"])
        assert sampled.env_file.read_bytes() == file
        assert sampled.pids() == pids
        assert "ORDERS_RECEIPT_DELAY" in refused["problems"][0]["message"]
        assert refused["problems"][0]["plugin"] == "orders"
        metrics = sampled.metrics()
        assert 'platform_config_validation_failures_total{kind="schema"} 1' in metrics
        assert "platform_last_reload_success 0" in metrics
        sampled.publish("ORDERS_RECEIPT_DELAY=0.1")
        wait_until(lambda: sampled.status()["generation"] > 1)
    assert load.failures == []
    assert sampled.status()["refused"] is None
    assert dotenv_values(sampled.env_file)["ORDERS_RECEIPT_DELAY"] == "0.1"


def test_awkward_values_arrive_in_every_worker_as_they_were_published(
    platform: Platform,
) -> None:
    """Configuration, case 2."""
    (platform.plugins / "probe.py").write_text(PROBE)
    platform.start()
    platform.publish(*(f"{key}={value}" for key, value in AWKWARD.items()))
    wait_until(lambda: platform.status()["generation"] == 2)
    wanted = {name for name in platform.pids() if name.endswith("@2")}
    assert {name.partition(".")[0] for name in wanted} == {"web", "task", "cron"}

    def dumped() -> bool:
        platform.get()
        return all((platform.data_dir / f"{name}.environ").exists() for name in wanted)

    wait_until(dumped)
    for name in wanted:
        environ = json.loads((platform.data_dir / f"{name}.environ").read_text())
        assert {key: environ.get(key) for key in AWKWARD} == AWKWARD, name


def test_a_key_that_is_deleted_upstream_is_gone_and_one_of_the_start_environment_wins(
    sampled: Platform,
) -> None:
    sampled.environment["GREETING"] = "From the start environment"
    sampled.start()
    assert sampled.get()["greeting"] == "From the start environment"
    assert dotenv_values(sampled.env_file)["GREETING"] == "Hello from the hive"


def test_publishing_the_same_again_rolls_out_nothing_but_is_known(
    sampled: Platform,
) -> None:
    """Configuration, case 9."""
    sampled.start()
    written = sampled.env_file.stat().st_mtime_ns
    pids, before = sampled.pids(), sampled.status()["config"]["release_keys"]
    sampled.publish("GREETING=Hello from the hive")
    wait_until(lambda: sampled.status()["config"]["release_keys"] != before)
    assert sampled.pids() == pids
    assert sampled.status()["generation"] == 1
    assert sampled.env_file.stat().st_mtime_ns == written
    wait_until(lambda: 'platform_config_applies_total{outcome="noop"} 1' in sampled.metrics())


@pytest.mark.parametrize("key", ["LD_PRELOAD", "PLATFORM_CONFIG_CHECK", "PLATFORM_PLUGINS"])
def test_the_remote_config_cannot_choose_the_code_that_runs(sampled: Platform, key: str) -> None:
    """Configuration, case 21."""
    sampled.start()
    pids = sampled.pids()
    sampled.publish(f"{key}=/tmp/evil")
    wait_until(lambda: key in (sampled.status()["config"].get("last_error") or ""))
    assert sampled.pids() == pids
    denied = 'platform_config_validation_failures_total{kind="denied"} 1'
    wait_until(lambda: denied in sampled.metrics())
    assert key not in sampled.env_file.read_text()
