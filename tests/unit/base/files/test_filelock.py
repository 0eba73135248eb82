"""One process at a time."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skep.base.errors import AlreadyRunning
from skep.base.files.filelock import held
from skep.base.rundir import RunDir
from tests.support import wait_until


def test_only_one_can_hold_a_lock_and_the_next_has_it_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    async def test() -> None:
        async with held(lock, "Somebody holds it."):
            with pytest.raises(AlreadyRunning, match="Somebody holds it"):
                async with held(lock, "Somebody holds it.", patience=0.05):
                    pass
        async with held(lock, "Somebody holds it.", patience=0):
            pass

    asyncio.run(test())


def test_one_waits_for_the_one_before_it_to_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    async def be_next() -> None:
        async with held(lock, "Somebody holds it."):
            pass

    async def test() -> None:
        async with held(lock, "Somebody holds it."):
            waiting = asyncio.create_task(be_next())
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
        await waiting

    asyncio.run(test())


def test_the_data_directory_is_free_again_when_its_holder_was_killed(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "data")
    run_dir.create()
    code = (
        "import sys, time; from skep.base.rundir import RunDir\n"
        "RunDir(sys.argv[1]).lock(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run_dir.path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match="already running on"):
            run_dir.lock()
        holder.send_signal(signal.SIGKILL)

    def free() -> bool:
        run_dir.lock()
        return True

    assert wait_until(free)


def test_the_data_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "data")
    run_dir.create()
    for directory in (run_dir.path, run_dir.config_dir, run_dir.configserver_dir):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_whether_a_lock_is_held_is_asked_without_taking_it(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "data")
    assert not run_dir.is_held(), "there is none"
    run_dir.create()
    descriptor = run_dir.lock()
    try:
        for _ in range(2):
            assert run_dir.is_held()
    finally:
        os.close(descriptor)
    assert not run_dir.is_held()
    os.close(run_dir.lock())
