"""Descriptors that are handed over, by a service manager or by ourselves."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from skep.base.errors import ListenError
from skep.supervisor.sockets.inheritance import Inherited, take

ROOT = Path(__file__).parents[4]
# A process that hands everything down to itself, once, and then says what it has.
AGAIN = """
import json, os, socket, sys
from skep.supervisor.sockets.inheritance import Inheritance, Inherited, hand_down, take
environment = dict(os.environ)
found = take(environment)
if not found.listeners:
    lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    made = {"http": ("127.0.0.1", 0), "v6": ("::1", 5200), "tcp.echo": None}
    made["near"] = ("unix:/run/a b:c@d.sock", 0)
    made |= {f"inbox.plugin.Class{n}": ("unix:/run/a.sock", 0) for n in range(100)}
    found = {n: Inherited(socket.create_server(("127.0.0.1", 0)), a) for n, a in made.items()}
    ports = {n: i.sock.getsockname()[1] for n, i in found.items()}
    environment |= {"PORTS": json.dumps(ports), "LOCK": str(os.fstat(lock).st_ino)}
    handed = hand_down(Inheritance(found, lock))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment | handed)
same = json.loads(environment["PORTS"]) == {
    n: i.sock.getsockname()[1] for n, i in found.listeners.items()
}
left = [key for key in environment if key.startswith("LISTEN_")]
lock = str(os.fstat(found.lock).st_ino) == environment["LOCK"]
asked = {n: i.asked for n, i in found.listeners.items() if not n.startswith("inbox.")}
print(json.dumps([same, lock, left, asked, os.get_inheritable(found.lock)]))
"""


def test_what_a_process_hands_down_its_next_life_takes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(tmp_path / "lock")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
    )
    same, lock, left, asked, inheritable = json.loads(done.stdout or done.stderr)
    assert (same, lock, left, inheritable) == (True, True, [], False)
    near = ["unix:/run/a b:c@d.sock", 0]
    others = {"http": ["127.0.0.1", 0], "v6": ["::1", 5200], "tcp.echo": None}
    assert asked == {**others, "near": near}


def test_what_was_meant_for_another_process_is_left_alone() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "5", "LISTEN_FDNAMES": "a:b", "OTHER": "x"}
    assert take(environment).listeners == {}
    assert environment == {"OTHER": "x"}


def test_a_socket_is_used_only_for_the_address_it_was_asked_for() -> None:
    with socket.socket() as sock:
        assert Inherited(sock, ("127.0.0.1", 0)).fits("127.0.0.1", 0)
        assert not Inherited(sock, ("127.0.0.1", 5200)).fits("127.0.0.1", 5300)
        assert Inherited(sock, None).fits("0.0.0.0", 80)


def test_what_is_no_socket_at_all_is_named() -> None:
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 3)
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
        try:
            take(environment)
        except ListenError as error:
            os._exit(0 if "Descriptor 3 (http)" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("name", ["", "unknown", "shop.socket"])
def test_a_socket_without_a_name_of_its_own_is_for_http(name: str) -> None:
    pid = os.fork()
    if pid == 0:
        os.dup2(socket.create_server(("127.0.0.1", 0)).detach(), 3)
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
        os._exit(0 if list(take(environment).listeners) == ["http"] else 1)
    assert os.waitpid(pid, 0)[1] == 0
