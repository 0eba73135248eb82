"""Questions to a platform that is there, is not, or goes away."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skep.base.errors import NotRunning
from skep.base.rundir import RunDir, bind_unix
from skep.wire import control
from tests.support import wait_until


def test_nobody_is_there_where_nobody_has_the_directory(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="No platform is running"):
        control.call(tmp_path / "control.sock", "status", timeout=5)


def test_one_that_cuts_off_who_asks_has_ended_and_is_not_about_to_start(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.create()
    lock = run_dir.lock()
    with bind_unix(run_dir.control_socket) as listener:

        def cut() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)  # what is left unread makes a reset of the close

        cutting = threading.Thread(target=cut)
        cutting.start()
        with pytest.raises(NotRunning, match="ended before it answered"):
            control.call(run_dir.control_socket, "status", timeout=25)
        cutting.join()
    os.close(lock)


def in_loop(path: Path, command: str) -> object:
    return asyncio.run(control.ask(path, command))


@pytest.mark.parametrize("ask", [control.call, in_loop])
def test_half_an_answer_is_that_of_a_platform_that_ended(
    tmp_path: Path, ask: Callable[[Path, str], object]
) -> None:
    path = tmp_path / "control.sock"
    with bind_unix(path) as listener, ThreadPoolExecutor(1) as killed:

        def answer_half() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as questions:
                questions.readline()
                connection.sendall(b'{"ok": true, "resu')

        answered = killed.submit(answer_half)
        with pytest.raises(NotRunning, match="ended before it answered"):
            ask(path, "status")
        answered.result(25)


def test_one_that_has_the_directory_is_waited_for(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.create()
    lock = run_dir.lock()
    with ThreadPoolExecutor(1) as asker:
        asked = asker.submit(control.call, run_dir.control_socket, "status", timeout=25)
        wait_until(asked.running)
        with bind_unix(run_dir.control_socket) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b'{"ok": true, "result": 7}\n')
                assert asked.result(25) == 7
    os.close(lock)
