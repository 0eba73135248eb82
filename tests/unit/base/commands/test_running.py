"""External commands, with real programs: nothing of one is left when it has ended."""

import asyncio
import errno
import json
import logging
import os
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from skep.base.commands.command import ExternalCommand, executable
from skep.base.commands.running import RunningCommand, start
from skep.base.errors import CommandError
from skep.base.logs import log as logs
from skep.base.logs.log import JsonFormatter, bound
from skep.base.system.privileges import identity
from tests.support import wait_until, wait_until_async

ENVIRONMENT = {"PATH": os.environ["PATH"]}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Printed:
    """What a command has printed, by stream."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, stream: str, line: str) -> None:
        self.lines.append((stream, line))

    def of(self, stream: str) -> list[str]:
        return [line for name, line in self.lines if name == stream]


def shell(script: str, **more: Any) -> ExternalCommand:
    environment = {**ENVIRONMENT, **more.pop("environment", {})}
    return ExternalCommand(("/bin/sh", "-c", script), environment, **more)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def output_of(command: ExternalCommand) -> tuple[str, Printed]:
    printed = Printed()
    running = await start(command, "test", printed)
    return str(await running.wait()), printed


def test_a_command_runs_with_its_environment_directory_and_input(tmp_path: Path) -> None:
    async def check() -> None:
        script = 'echo "$GREETING"; pwd; cat; env | cut -d= -f1 | sort | tr "\\n" " "'
        command = shell(
            script, environment={"GREETING": "hi"}, directory=str(tmp_path), given=b"in\n"
        )
        how, printed = await output_of(command)
        assert how == "exited with 0"
        *lines, names = printed.of("stdout")
        assert lines == ["hi", str(tmp_path), "in"]
        assert set(names.split()) - {"PWD", "SHLVL", "_", "OLDPWD"} == {"GREETING", "PATH"}

    run(check())


def test_without_input_it_reads_the_end_of_a_file() -> None:
    async def check() -> None:
        assert (await output_of(shell("cat; exit 3")))[0] == "exited with 3"

    run(check())


def test_it_has_no_descriptors_but_its_own() -> None:
    async def check() -> None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        os.set_inheritable(descriptor, True)
        code = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:4])"
        command = ExternalCommand((sys.executable, "-c", code), ENVIRONMENT)
        _, printed = await output_of(command)
        os.close(descriptor)
        # The fourth is that of listdir.
        assert printed.of("stdout") == ["[0, 1, 2, 3]"]

    run(check())


def test_both_outputs_are_read_and_the_last_line_needs_no_newline() -> None:
    async def check() -> None:
        _, printed = await output_of(shell("echo one; echo bad >&2; printf two"))
        assert printed.of("stdout") == ["one", "two"]
        assert printed.of("stderr") == ["bad"]

    run(check())


def test_a_flood_ends_and_what_is_left_out_is_counted() -> None:
    async def check() -> None:
        how, printed = await output_of(shell("yes | head -c 1000000"))
        assert how == "exited with 0"
        left_out = [line for line in printed.of("stdout") if line.startswith("…")]
        counted = sum(int(line.split()[1]) for line in left_out)
        assert len(printed.of("stdout")) - len(left_out) + counted == 500_000
        assert left_out

    run(check())


def test_what_is_left_out_is_said_also_by_a_program_that_prints_no_more() -> None:
    async def check() -> None:
        printed = Printed()
        running = await start(shell("yes | head -5000; exec sleep 60"), "test", printed)
        await wait_until_async(lambda: any(line.startswith("…") for _, line in printed.lines))
        await running.stop(5)
        lines = printed.of("stdout")
        left_out = sum(int(line.split()[1]) for line in lines if line.startswith("…"))
        assert len([line for line in lines if line == "y"]) + left_out == 5000

    run(check())


def test_its_lines_have_the_fields_of_the_place_that_started_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        with bound(schedule="jobs.cron:3"):
            running = await start(shell("echo $DB_PASSWORD", environment=secret), "test")
        await running.wait()

    secret = {"DB_PASSWORD": "swordfish-17"}
    lines: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter("task.0", 3).format(record)))

    handler = Lines()
    logging.getLogger("command").addHandler(handler)
    try:
        run(check())
    finally:
        logging.getLogger("command").removeHandler(handler)
        logs._secrets.pop()
    assert len(lines) == 1
    assert lines[0]["message"] == "******"
    assert (lines[0]["schedule"], lines[0]["stream"]) == ("jobs.cron:3", "stdout")


def test_a_signal_is_named() -> None:
    async def check() -> None:
        assert (await output_of(shell("kill -SEGV $$")))[0] == "killed by SIGSEGV"

    run(check())


def test_a_stop_terminates_the_whole_group() -> None:
    async def check() -> None:
        printed = Printed()
        running = await start(shell("sleep 100 & echo $!; wait"), "test", printed)
        await wait_until_async(lambda: printed.of("stdout"))
        assert str(await running.stop(20)) == "killed by SIGTERM"
        assert not alive(running.pid)
        assert not alive(int(printed.of("stdout")[0]))

    run(check())


def test_at_the_deadline_it_is_killed() -> None:
    async def check() -> None:
        printed = Printed()
        script = "trap 'echo no' TERM; sleep 100 & echo $!; while :; do wait; done"
        running = await start(shell(script), "test", printed)
        await wait_until_async(lambda: printed.of("stdout"))
        long_one = asyncio.create_task(running.stop(100))
        await wait_until_async(lambda: "no" in printed.of("stdout"))
        assert str(await running.stop(0.01)) == "killed by SIGKILL"
        assert str(await long_one) == "killed by SIGKILL"
        assert not alive(int(printed.of("stdout")[0]))

    run(check())


def test_what_it_leaves_in_its_group_is_ended() -> None:
    async def check() -> None:
        how, printed = await output_of(shell("sleep 100 & echo $!"))
        assert how == "exited with 0"
        assert not alive(int(printed.of("stdout")[0]))

    run(check())


def test_a_daemon_that_keeps_the_output_open_does_not_hold_it_up(tmp_path: Path) -> None:
    async def check() -> None:
        # It has a session of its own when the file is there.
        up = tmp_path / "up"
        script = f"setsid sh -c 'echo $$; : > {up}; exec sleep 100' & until [ -e {up} ]; do :; done"
        how, printed = await output_of(shell(script))
        assert how == "exited with 0"
        daemon = int(printed.of("stdout")[0])
        assert alive(daemon)
        os.kill(daemon, signal.SIGKILL)

    run(check())


def test_a_cancelled_wait_leaves_it_alone() -> None:
    async def check() -> None:
        running = await start(shell("sleep 100"), "test", Printed())
        waiting = asyncio.create_task(running.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        assert alive(running.pid)
        await running.stop(20)

    run(check())


def guard_of(running: RunningCommand) -> int:
    stat = Path(f"/proc/{running.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def test_it_dies_with_its_guard() -> None:
    async def check() -> None:
        running = await start(shell("sleep 100 & wait"), "test", Printed())
        os.kill(guard_of(running), signal.SIGKILL)
        assert str(await running.wait()) == "killed together with its guard"
        await wait_until_async(lambda: not alive(running.pid))

    run(check())


HOST = """
import asyncio, sys
from skep.base.commands.command import ExternalCommand
from skep.base.commands.running import start

async def main():
    script = "trap 'echo ended > ended; exit' TERM; sleep 100 & echo $! > child; wait"
    command = ExternalCommand(("/bin/sh", "-c", script), {"PATH": "/bin:/usr/bin"}, sys.argv[1])
    running = await start(command, "test")
    print(running.pid, flush=True)
    await running.wait()

asyncio.run(main())
"""


def test_it_is_ended_when_its_host_is_killed(tmp_path: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    child = wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    host.kill()
    host.wait()
    host.stdout.close()
    wait_until(lambda: not alive(pid) and not alive(int(child)))
    assert (tmp_path / "ended").read_text() == "ended\n"


def test_what_cannot_be_executed_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "folder").mkdir()

    def refusal(program: str) -> str:
        with pytest.raises(CommandError) as raised:
            executable([program], {"PATH": "/nowhere"}, str(tmp_path))
        return str(raised.value)

    assert refusal("no-such-thing") == "There is no executable 'no-such-thing' in PATH (/nowhere)."
    assert "no file './missing'" in refusal("./missing")
    assert "'./folder' is not a file" in refusal("./folder")
    assert "'./plain' is not executable; chmod +x" in refusal("./plain")
    assert "is empty" in refusal("")
    assert executable(["sh"], ENVIRONMENT).endswith("/sh")


def test_what_fails_at_the_start_is_explained(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x01\x02")
    nonsense.chmod(0o755)

    async def refusal(command: ExternalCommand) -> str:
        with pytest.raises(CommandError) as raised:
            await start(command, "test", Printed())
        return str(raised.value)

    async def check() -> None:
        said = await refusal(ExternalCommand((str(nonsense),), ENVIRONMENT))
        assert os.strerror(errno.ENOEXEC) in said
        assert "#!/bin/sh" in said
        assert "/no/where" in await refusal(shell("true", directory="/no/where"))
        large = shell("true", environment={"X": "x" * 10_000_000})
        assert os.strerror(errno.E2BIG) in await refusal(large)

    run(check())


def test_without_descriptors_it_is_refused_and_nothing_stays_open() -> None:
    async def check() -> None:
        before = os.listdir("/proc/self/fd")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 8, limits[1]))
        taken = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(4):  # it needs seven, and fails at another one each time
                with pytest.raises(CommandError, match=os.strerror(errno.EMFILE)):
                    await start(shell("true"), "test", Printed())
                os.close(taken.pop())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in taken:
                os.close(descriptor)
        assert len(os.listdir("/proc/self/fd")) == len(before)

    run(check())


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_descriptors_and_children_do_not_pile_up() -> None:
    async def check() -> None:
        await output_of(shell("true"))
        before, others = os.listdir("/proc/self/fd"), children()
        for _ in range(10):
            await output_of(shell("echo x"))
            with pytest.raises(CommandError):
                await start(shell("true", directory="/no/where"), "test", Printed())
        await wait_until_async(lambda: len(os.listdir("/proc/self/fd")) <= len(before))
        assert children() <= others

    run(check())


@AS_ROOT
def test_root_can_run_it_as_another_user(tmp_path: Path) -> None:
    async def check() -> None:
        who = identity("nobody", "")
        how, printed = await output_of(shell("id -u; sleep 0", user=who, directory="/"))
        assert (how, printed.of("stdout")) == (
            "exited with 0",
            [str(pwd.getpwnam("nobody").pw_uid)],
        )

    run(check())
