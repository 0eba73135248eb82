"""`platform stop`: what is in flight finishes, and nothing is left."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from skep.base.rundir import RunDir
from skep.wire.control import CommandFailed, call
from tests.acceptance.test_kill import CHORES, deliver, ends, lines
from tests.knocker import Knocker
from tests.platform_process import Platform
from tests.support import wait_until


@pytest.fixture
def chores(sampled: Platform) -> Platform:
    (sampled.plugins / "chores.py").write_text(CHORES)
    sampled.environment["PLATFORM_DRAIN_TIMEOUT"] = "30"
    return sampled.start()


def left_in(platform: Platform) -> set[str]:
    """The sockets and process id files that lie in the data directory."""
    return {
        path.name
        for path in platform.data_dir.rglob("*")
        if path.is_socket() or path.suffix == ".pid"
    }


def test_requests_and_tasks_in_flight_finish_and_nothing_is_left(chores: Platform) -> None:
    """Lifecycle, case 34."""
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.get(f"{chores.url}/slow", timeout=30).status_code)

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: 'state="active"} 8' in chores.metrics())
    deliver(chores, 1, seconds=2.0)
    wait_until(lambda: lines(chores, "begin 1"))
    own = {name for name in left_in(chores) if not name.startswith("web.")}
    assert own == {"control.sock", "store.sock", "supervisor.pid", "ticker.Ticker.sock"}
    # When it is told to stop
    with ThreadPoolExecutor() as threads:
        stopping = threads.submit(chores.cli, "stop")
        wait_until(lambda: chores.status().get("state") == "stopping")
        assert answers == []
        (chores.directory / "go").touch()
        stopped = stopping.result()
    # Then the verb and the platform end well, and everybody had an answer
    assert (stopped.returncode, stopped.stdout) == (0, "Stopped.\n")
    assert chores.wait_end() == 0
    for client in clients:
        client.join()
    assert answers == [200] * 8
    assert ends(chores) == {1}
    assert chores.tree() == []
    assert left_in(chores) == set()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_whoever_could_connect_to_one_that_stops_has_an_answer(
    sampled: Platform, loop: str
) -> None:
    sampled.environment["PLATFORM_LOOP"] = loop
    sampled.start()
    request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with Knocker(int(sampled.url.rpartition(":")[2]), request) as knocker:
        wait_until(lambda: knocker.answered > 20)
        assert sampled.cli("stop").returncode == 0
        wait_until(lambda: knocker.refused > 5)
    assert knocker.cut == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_stops_as_well(sampled: Platform, name: str) -> None:
    sampled.start()
    assert sampled.process is not None
    sampled.process.send_signal(signal.Signals[name])
    assert sampled.wait_end() == 0
    assert sampled.tree() == []


def test_nobody_takes_a_place_any_more_in_a_platform_that_stops(chores: Platform) -> None:
    deliver(chores, 1, seconds=4)
    wait_until(lambda: lines(chores, "begin 1"))
    assert chores.process is not None
    chores.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not chores.pids("web"))
    # Who came now would be given requests, and would be killed with them
    socket = RunDir(chores.data_dir).control_socket
    wishes: dict[str, dict[str, Any]] = {
        "scale": {"kind": "web", "count": 4},
        "undrain": {},
        "reload_tasks": {},
    }
    for wish, fields in wishes.items():
        with pytest.raises(CommandFailed, match="The platform is stopping"):
            call(socket, wish, timeout=5.0, **fields)
    chores.process.send_signal(signal.SIGTTIN)
    assert not chores.pids("web")
    assert chores.wait_end() == 0
    assert ends(chores) == {1}


def test_a_second_interrupt_does_not_wait_for_what_is_in_flight(chores: Platform) -> None:
    """Lifecycle, case 35."""
    deliver(chores, 1, seconds=60)
    wait_until(lambda: lines(chores, "begin 1"))
    assert chores.process is not None
    chores.process.send_signal(signal.SIGINT)
    wait_until(lambda: chores.status().get("state") == "stopping")
    chores.process.send_signal(signal.SIGINT)
    assert chores.wait_end() == 0
    assert chores.tree() == []


def test_what_was_delivered_and_not_begun_is_done_after_the_next_start(chores: Platform) -> None:
    for number in range(40):
        deliver(chores, number, seconds=0.3)
    assert chores.cli("stop").returncode == 0
    chores.wait_end()
    done = ends(chores)
    chores.start()
    wait_until(lambda: ends(chores) == set(range(40)))
    # What had ended before did not run again
    assert len(lines(chores, "end")) == 40
    assert len(done) <= 40


def test_verbs_without_a_platform_say_so(platform: Platform) -> None:
    for verb in (["stop"], ["status"], ["reload"], ["config", "publish", "A=1"]):
        done = platform.cli(*verb)
        assert done.returncode == 3
        assert str(platform.data_dir) in done.stderr
        assert "platform start" in done.stderr
        assert "Traceback" not in done.stderr
