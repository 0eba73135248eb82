"""PLATFORM_CRONTAB: commands by the clock, in a slot of their own."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.platform_process import Platform, read_proc
from tests.support import wait_until

SLOT = "schedule.0@0"


@pytest.fixture
def crontab(sampled: Platform) -> Path:
    """The crontab of a platform that is not started."""
    path = sampled.directory / "jobs.cron"
    path.touch()
    sampled.environment["PLATFORM_CRONTAB"] = "jobs.cron"
    return path


def lines(platform: Platform, name: str) -> list[str]:
    path = platform.directory / name
    return path.read_text().split() if path.exists() else []


def command(platform: Platform, name: str) -> dict[str, Any]:
    """What `status` shows of a command, {} if it is not in force."""
    commands = (platform.status().get("schedule") or {}).get("commands", [])
    return next((found for found in commands if found["name"] == name), {})


def alive(pid: int) -> bool:
    state = read_proc(pid, "stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def running(platform: Platform, name: str) -> int:
    """Wait until a command runs; return its pid."""
    return wait_until(lambda: next(iter(command(platform, name).get("pids", [])), 0))


def test_commands_outlive_rollouts_and_a_bad_file_is_refused(
    sampled: Platform, crontab: Path
) -> None:
    crontab.write_text(
        "DB_PASSWORD=hon3y-tr4p\n"
        "# platform: name=long\n"
        "@reboot echo $$ > long.pid; echo secret $DB_PASSWORD; echo bad >&2; "
        "while [ ! -e go ]; do sleep 0.05; done; echo ended > long.done\n"
        "# platform: name=fed\n"
        "@reboot cat > fed.out%one%two\n"
        "# platform: name=fails\n"
        "@reboot exit 3\n"
    )
    sampled.start()
    pid = running(sampled, "long")
    wait_until(lambda: lines(sampled, "fed.out") == ["one", "two"])
    # Its output is in the log, masked, with its name
    wait_until(lambda: "secret ******" in sampled.output())
    log = sampled.output()
    (line,) = (line for line in log.splitlines() if "secret ******" in line)
    assert "schedule.0" in line
    assert "cron=crontab:long" in line
    assert "hon3y-tr4p" not in log
    assert "stream=stderr" in next(line for line in log.splitlines() if " bad " in line)
    # A failure is counted and shown
    wait_until(lambda: command(sampled, "fails")["last"]["outcome"] == "failure")
    assert 'platform_cron_runs_total{cron="crontab:fails",outcome="failure"} 1' in sampled.metrics()
    text = sampled.cli("status").stdout
    assert f"3 commands of {crontab}" in text
    assert f"long is running (pid {pid})" in text
    assert "fails: failure" in text
    assert "schedule.0" in sampled.cli("ps").stdout
    # A rollout, and a file with another command, leave it alone
    assert sampled.cli("reload").returncode == 0
    crontab.write_text("# platform: name=other\n@daily true\n")
    wait_until(lambda: command(sampled, "other"))
    assert alive(pid)
    # A bad file is refused with its line, and the schedule goes on
    crontab.write_text("@daily true\n61 * * * * true\n")
    wait_until(lambda: sampled.status()["state"] == "degraded")
    (reason,) = sampled.status()["reasons"]
    assert f"{crontab}:2: " in reason
    assert command(sampled, "other")
    # Its file gone, it still does
    crontab.unlink()
    wait_until(lambda: "No such file" in str(sampled.status()["reasons"]))
    crontab.write_text("# platform: name=third\n@daily true\n")
    wait_until(lambda: sampled.status()["state"] == "running")
    assert command(sampled, "third")
    born = 'platform_cron_runs_total{cron="crontab:third",outcome="failure"} 0'
    wait_until(lambda: born in sampled.metrics())
    # And the run of before comes to its end
    (sampled.directory / "go").touch()
    wait_until(lambda: lines(sampled, "long.done") == ["ended"])


def test_a_killed_schedule_takes_its_commands_along_and_the_next_one_reports_them(
    sampled: Platform, crontab: Path
) -> None:
    crontab.write_text("# platform: name=long\n@reboot sleep 1000 & echo $! > child; wait\n")
    sampled.start()
    pid = running(sampled, "long")
    (child,) = wait_until(lambda: lines(sampled, "child"))
    former = sampled.pids()[SLOT]
    crontab.write_text("61 * * * * true\n")
    wait_until(lambda: sampled.status()["state"] == "degraded")
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: sampled.pids().get(SLOT, former) != former)
    wait_until(lambda: not alive(pid) and not alive(int(child)))
    # The crontab in force before still is, and @reboot does not run again
    wait_until(lambda: command(sampled, "long").get("pids") == [])
    assert "The command long was cut off when the schedule ended" in sampled.output()
    counted = 'platform_cron_runs_total{cron="crontab:long",outcome="interrupted"} 1'
    wait_until(lambda: counted in sampled.metrics())
    wait_until(lambda: f"{crontab}:1: " in str(sampled.status()["reasons"]))


def test_a_stop_lets_commands_finish_and_ends_the_others(sampled: Platform, crontab: Path) -> None:
    sampled.environment["PLATFORM_DRAIN_TIMEOUT"] = "1"
    crontab.write_text(
        "# platform: name=short\n@reboot trap '' TERM; while [ ! -e go ]; do sleep 0.05; done; "
        "echo ended > short.done\n"
        "# platform: name=long\n@reboot trap 'echo ended > long.done; exit' TERM; "
        "sleep 1000 & echo $! > child; wait; wait\n"
    )
    sampled.start()
    pids = [running(sampled, "short"), running(sampled, "long")]
    (child,) = wait_until(lambda: lines(sampled, "child"))
    (sampled.directory / "go").touch()
    assert sampled.cli("stop").returncode == 0
    assert sampled.wait_end() == 0
    assert lines(sampled, "short.done") == ["ended"]
    assert lines(sampled, "long.done") == ["ended"]
    assert not any(alive(pid) for pid in (*pids, int(child)))


def test_a_hurried_stop_leaves_no_process(sampled: Platform, crontab: Path) -> None:
    crontab.write_text(
        "# platform: name=long\n@reboot trap '' TERM; (trap '' TERM; sleep 1000) & "
        "echo $! > child; wait\n"
    )
    sampled.start()
    pid = running(sampled, "long")
    (child,) = wait_until(lambda: lines(sampled, "child"))
    assert sampled.process is not None
    sampled.process.send_signal(signal.SIGQUIT)
    sampled.wait_end()
    wait_until(lambda: not alive(pid) and not alive(int(child)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "jobs.cron (PLATFORM_CRONTAB) cannot be read: No such file or directory."),
        ("@daily true\n@never true\n", "jobs.cron:2: "),
        ("SHELL=/bin/none\n@daily true\n", "jobs.cron:1: There is no file '/bin/none'"),
    ],
)
def test_a_bad_crontab_is_refused_at_the_start(
    sampled: Platform, crontab: Path, text: str | None, said: str
) -> None:
    if text is None:
        crontab.unlink()
    else:
        crontab.write_text(text)
    checked = sampled.cli("check")
    assert checked.returncode == 2
    assert said in checked.stderr
    sampled.start(ready=False)
    assert sampled.wait_end() == 2
    assert said in sampled.output()


def test_platform_cron_off_is_a_machine_without_a_timer(sampled: Platform, crontab: Path) -> None:
    crontab.write_text("@reboot touch ran\n")
    (sampled.plugins / "clock.py").write_text(
        "from pathlib import Path\nfrom skep import Plugin, cron\n"
        "@cron(every=0.05)\ndef tick(tick):\n    Path('ticked').touch()\n"
        "plugin = Plugin(crons=[tick])\n"
    )
    sampled.environment["PLATFORM_CRON"] = "off"
    sampled.start()
    slots = {slot["slot"] for slot in sampled.status()["slots"]}
    assert not slots & {"cron.0", "schedule.0"}
    assert sampled.status()["left_out"] == ["cron"]
    assert sampled.status()["schedule"] is None
    assert not (sampled.directory / "ran").exists()
    assert not (sampled.directory / "ticked").exists()


def test_a_machine_that_would_run_nothing_is_refused(sampled: Platform) -> None:
    sampled.environment |= {"PLATFORM_CRON": "off", "PLATFORM_KINDS": "cron"}
    done = sampled.cli("start")
    assert done.returncode == 2
    assert "PLATFORM_CRON is off" in done.stderr


def test_moments_of_a_stopped_platform_are_judged_by_policy(
    sampled: Platform, crontab: Path
) -> None:
    crontab.write_text(
        "# platform: name=once misfire=once\n0 0 1 1 * echo ran >> once.done\n"
        "# platform: name=skip\n0 0 1 1 * echo ran >> skip.done\n"
        "# platform: name=start\n@reboot echo ran >> start.done\n"
    )
    sampled.start()
    wait_until(lambda: lines(sampled, "start.done"))
    assert sampled.cli("stop").returncode == 0
    sampled.wait_end()
    # Two years pass
    journal = sampled.data_dir / "schedule" / "journal.json"
    kept = json.loads(journal.read_text())
    assert kept["runs"] == []
    for moment in kept["moments"].values():
        moment["moment"] -= 2 * 366 * 86400
    journal.write_text(json.dumps(kept))
    sampled.start()
    wait_until(lambda: lines(sampled, "once.done") == ["ran"])
    wait_until(lambda: lines(sampled, "start.done") == ["ran", "ran"])
    wait_until(lambda: "crontab:skip" in sampled.metrics())
    metrics = sampled.metrics()
    missed = 'platform_cron_misfires_total{{cron="crontab:{}",reason="late"}} {}'
    assert missed.format("once", 1) in metrics
    assert missed.format("skip", 2) in metrics
    assert not (sampled.directory / "skip.done").exists()
