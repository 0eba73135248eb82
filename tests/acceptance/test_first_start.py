"""One command, and it runs."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import httpx
from dotenv import dotenv_values

from tests.packages import require
from tests.platform_process import ROOT, Platform
from tests.support import wait_until

FREE_PORTS = {f"PLATFORM_{name}": "0" for name in ("PORT", "ADMIN_PORT", "CONFIG_SERVER_PORT")}


def test_the_first_release_is_in_env_and_in_every_worker_before_anything_is_served(
    sampled: Platform,
) -> None:
    """Configuration, case 1."""
    sampled.tell_environments()
    sampled.start()
    assert sampled.get()["greeting"] == "Hello from the hive"
    assert httpx.get(f"{sampled.admin}/readyz").json() == {"ready": True, "missing": []}
    assert httpx.get(f"{sampled.admin}/healthz").status_code == 200
    assert stat.S_IMODE(sampled.env_file.stat().st_mode) == 0o600
    assert dotenv_values(sampled.env_file) == {
        "GREETING": "Hello from the hive",
        "ORDERS_RECEIPT_DELAY": "0.2",
    }
    workers = [pid for name, pid in sampled.pids().items() if not name.endswith("@0")]
    assert len(workers) == 6
    for pid in workers:
        environ = sampled.environ(pid)
        assert environ["GREETING"] == "Hello from the hive"
        assert environ["ORDERS_RECEIPT_DELAY"] == "0.2"


def test_whoever_publishes_while_it_starts_is_told_to_try_again(sampled: Platform) -> None:
    sampled.start(ready=False)
    errors: list[str] = []

    def published() -> bool:
        done = sampled.cli("config", "publish", "GREETING=early")
        errors.append(done.stderr)
        return done.returncode == 0

    wait_until(published, deadline=30)
    # Nothing but sentences, one line each
    assert all(error.startswith("platform: ") and error.count("\n") == 1 for error in errors[:-1])
    sampled.wait_ready()
    wait_until(lambda: sampled.get()["greeting"] == "early")


def test_an_order_goes_through_event_listener_task_and_finish(sampled: Platform) -> None:
    sampled.start()
    assert httpx.post(f"{sampled.url}/orders/7/pay").status_code == 202
    happened = wait_until(lambda: _happened(sampled, 7, "receipt R-7 confirmed"))
    # The event is on the disk before the payment is noted, so the listener may be the quicker one
    by_task = [entry for entry in happened if entry["what"] != "paid"]
    assert [entry["what"] for entry in by_task] == [
        "payment noticed",
        "receipt sent",
        "receipt R-7 confirmed",
    ]
    assert {entry["worker"].partition(".")[0] for entry in by_task} == {"task"}
    assert wait_until(lambda: _happened(sampled, 7, "paid"))


def test_the_pulse_beats(sampled: Platform) -> None:
    sampled.start()
    wait_until(lambda: sampled.get("/pulse")["beats"] >= 3)


def test_a_platform_without_plugins_or_samples_starts_all_the_same(platform: Platform) -> None:
    platform.start()
    assert httpx.get(f"{platform.url}/").status_code == 404
    assert platform.status()["plugins"] == []


def test_a_second_start_keeps_what_was_published(sampled: Platform) -> None:
    sampled.start()
    sampled.publish("GREETING=Second")
    wait_until(lambda: sampled.get()["greeting"] == "Second")
    sampled.stop()
    sampled.start()
    assert sampled.get()["greeting"] == "Second"


def test_from_a_clean_clone_make_start_is_all_it_takes(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    _copy_tracked_files(clone)
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    made = subprocess.Popen(
        ["make", "start"],
        cwd=clone,
        env=environment | FREE_PORTS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        platform = Platform(clone)
        platform.data_dir = clone / ".platform"
        platform.environment["PLATFORM_DATA_DIR"] = str(platform.data_dir)
        platform.wait_ready(deadline=120.0)
        assert platform.get()["greeting"] == "Hello from the hive"
        assert dotenv_values(clone / ".env")["GREETING"] == "Hello from the hive"
        assert platform.cli("stop").returncode == 0
        assert made.wait(30) == 0
    finally:
        os.killpg(made.pid, signal.SIGKILL) if made.poll() is None else None
        output = made.communicate()[0].decode()
        print(output)  # noqa: T201 - pytest shows it when the test fails


def _happened(platform: Platform, order: int, last: str) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = platform.get(f"/orders/{order}")["happened"]
    return entries if any(entry["what"] == last for entry in entries) else []


def _copy_tracked_files(target: Path) -> None:
    """What a clone would have, with the changes of the working tree."""
    listed = subprocess.run(
        [require("git"), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
