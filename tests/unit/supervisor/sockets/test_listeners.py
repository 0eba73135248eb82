"""Sockets are bound once, and a refusal says what to do."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skep.base.errors import ListenError
from skep.base.sockets.endpoint import Endpoint
from skep.supervisor.sockets.inheritance import Inherited
from skep.supervisor.sockets.listeners import PLATFORM, Listeners
from tests.platform_process import ROOT
from tests.support import free_port


def http(host: str = "127.0.0.1", port: int = 0) -> Endpoint:
    return Endpoint("http", host, port, owner="the platform", remedy="--port")


def bind(host: str, port: int, *, patient: bool = False) -> str:
    async def main() -> str:
        listeners = Listeners()
        try:
            await listeners.open([http(host, port)], patient=patient)
            return listeners.urls(PLATFORM)["http"]
        finally:
            listeners.close()

    return asyncio.run(main())


def test_port_0_takes_a_free_one_and_the_address_is_told() -> None:
    assert bind("127.0.0.1", 0).startswith("http://127.0.0.1:")
    assert not bind("127.0.0.1", 0).endswith(":0")


def test_an_ipv6_address_is_told_in_brackets() -> None:
    assert bind("::1", 0).startswith("http://[::1]:")


def test_a_port_in_use_is_named_with_the_option_to_change_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"Port {port} on 127.0.0.1 is in use.*--port"):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(ListenError, match=r"203\.0\.113\.1 is not an address of this machine"):
        bind("203.0.113.1", 0)


def test_a_name_that_does_not_resolve_is_named() -> None:
    with pytest.raises(ListenError, match=r"nowhere\.invalid"):
        bind("nowhere.invalid", 0)


def test_who_is_patient_gets_the_port_when_the_other_lets_go() -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]

    async def main() -> None:
        listeners = Listeners()
        binding = asyncio.create_task(listeners.open([http(port=port)], patient=True))
        await asyncio.wait({binding}, timeout=0.1)
        assert not binding.done()
        other.close()
        await binding
        assert listeners.port("http") == port
        listeners.close()

    asyncio.run(main())


def test_binding_a_name_again_changes_nothing() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([http()])
        port = listeners.port("http")
        await listeners.open([http()])
        assert listeners.port("http") == port
        listeners.close()

    asyncio.run(main())


def endpoint(name: str, port: int, **more: Any) -> Endpoint:
    return Endpoint(name, "127.0.0.1", port, owner="plugin p", remedy="its TcpListener", **more)


def connects(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5.0)  # who is turned away would wait for minutes
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_socket_lives_as_long_as_a_generation_wants_its_address() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([http()])
        await listeners.open([endpoint("a.lines", 0), endpoint("a.more", 0)], 1)
        ports = listeners.port("a.lines", 1), listeners.port("a.more", 1)
        # The next one wants one of them
        await listeners.open([endpoint("a.lines", 0)], 2)
        assert listeners.port("a.lines", 2) == ports[0]
        listeners.release([1, 2])
        assert connects(ports[1])
        listeners.release([2])
        assert connects(ports[0])
        assert not connects(ports[1])
        assert connects(listeners.port("http"))
        listeners.close()
        assert not connects(ports[0])

    asyncio.run(main())


def test_what_another_generation_holds_is_told_apart_from_a_stranger() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([endpoint("a.lines", 0)], 1)
        port = listeners.port("a.lines", 1)
        await listeners.open([endpoint("a.fixed", 0)], 1)
        with pytest.raises(ListenError, match=rf"Port {port} on 127.0.0.1, which plugin p wants"):
            await listeners.open([endpoint("b.new", 0), endpoint("b.lines", port)], 2)
        # Nothing of it is left
        assert listeners.names(2) == []
        listeners.close()

    asyncio.run(main())


def test_a_stale_unix_socket_gives_way_and_a_live_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    wanted = Endpoint("http", path=str(path), owner="the platform", remedy="--listen")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def main() -> None:
        listeners = Listeners()
        await listeners.open([wanted], 1)
        other = Listeners()
        with pytest.raises(ListenError, match=rf"The unix socket {path} is in use"):
            await other.open([wanted], 1)
        other.close()
        assert path.exists()
        listeners.close()
        assert not path.exists()
        path.write_text("somebody's file")
        with pytest.raises(ListenError, match="in use"):
            await listeners.open([wanted], 1)
        assert path.read_text() == "somebody's file"

    asyncio.run(main())


def test_a_unix_socket_is_inherited_as_long_as_clients_find_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    wanted = Endpoint("http", path=str(path), owner="the platform", remedy="--listen")

    async def main() -> None:
        first = Listeners()
        await first.open([wanted], 1)
        inode = path.stat().st_ino
        # The next one takes it as it is, and takes it away in the end
        second = Listeners(first.inheritable())
        await second.open([wanted], 1)
        assert path.stat().st_ino == inode
        # Where it is gone it is bound anew, and what is in its place is somebody's
        path.unlink()
        third = Listeners(second.inheritable())
        await third.open([wanted], 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        path.unlink()
        path.write_text("somebody's file")
        with pytest.raises(ListenError, match="in use"):
            await Listeners(third.inheritable()).open([wanted], 1)
        assert path.read_text() == "somebody's file"

    asyncio.run(main())


def test_a_unix_socket_gets_the_mode_and_the_group_that_are_wanted(tmp_path: Path) -> None:
    """B8: also one that was bound by the supervisor before a restart."""
    path, group = tmp_path / "s", str(os.getgroups()[-1] if os.geteuid() else 65534)
    plain = Endpoint("http", path=str(path), owner="the platform", remedy="--listen")
    shared = replace(plain, mode=0o606, group=group)

    async def main() -> None:
        first = Listeners()
        await first.open([plain], 1)
        assert path.stat().st_mode & 0o777 == 0o660
        second = Listeners(first.inheritable())
        await second.open([shared], 1)
        assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o606, int(group))
        second.close()
        await second.open([shared], 1)
        assert (path.stat().st_mode & 0o777, path.stat().st_gid) == (0o606, int(group))
        second.close()

    asyncio.run(main())


def test_a_group_that_does_not_exist_is_named_and_no_socket_is_left(tmp_path: Path) -> None:
    path = tmp_path / "s"
    wanted = Endpoint("http", path=str(path), group="nosuch", owner="the platform")
    with pytest.raises(ListenError, match="The group 'nosuch' does not exist: see --uds-group"):
        asyncio.run(Listeners().open([wanted], 1))
    assert not path.exists()


FOREIGN = """
import asyncio, os, sys
from skep.base.sockets.endpoint import Endpoint
from skep.supervisor.sockets.listeners import Listeners
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
wanted = Endpoint("http", path=sys.argv[1], group="0", owner="the platform")
asyncio.run(Listeners().open([wanted], 1))
"""


@pytest.mark.process
def test_a_group_that_the_user_is_not_in_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path = f"{folder}/s"
        done = subprocess.run(
            [sys.executable, "-c", FOREIGN, path],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT / "platform")},
        )
        assert f"The unix socket {path} cannot be given the group 0 and the mode 660" in done.stderr
        assert "only to a group that it is in" in done.stderr
        assert not os.path.exists(path)


PRIVILEGED = """
import asyncio, encodings.idna, os
from skep.base.sockets.endpoint import Endpoint
from skep.supervisor.sockets.listeners import Listeners
if os.geteuid() == 0:
    os.setuid(65534)
asyncio.run(Listeners().open([Endpoint("p.low", "127.0.0.1", 81, owner="plugin p", remedy="X")], 1))
"""


@pytest.mark.process
def test_a_privileged_port_is_named_with_who_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRIVILEGED],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "platform")},
    )
    wanted = "Port 81 on 127.0.0.1, which plugin p wants for p.low, needs privileges"
    low = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert (wanted in done.stderr) is (low > 81), done.stderr


def bound(kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket that a former supervisor has bound."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def test_an_inherited_socket_is_used_for_the_address_that_it_was_asked_for() -> None:
    async def main() -> None:
        inherited = bound()
        listeners = Listeners({"http": Inherited(inherited, ("127.0.0.1", 0))})
        await listeners.open([http()], 1)
        assert listeners.descriptors(["http"], 1) == [inherited.fileno()]
        assert listeners.inheritable()["http"].asked == ("127.0.0.1", 0)
        listeners.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (("127.0.0.1", 5200), socket.SOCK_STREAM),
        (("0.0.0.0", 0), socket.SOCK_STREAM),
        (("127.0.0.1", 0), socket.SOCK_DGRAM),
    ],
)
def test_an_inherited_socket_for_another_address_is_closed_and_another_is_bound(
    asked: tuple[str, int], kind: socket.SocketKind
) -> None:
    async def main() -> None:
        inherited = bound(kind)
        listeners = Listeners({"http": Inherited(inherited, asked)})
        await listeners.open([http()], 1)
        assert inherited.fileno() == -1
        assert connects(listeners.port("http", 1))
        listeners.close()

    asyncio.run(main())


def test_a_socket_of_a_service_manager_is_used_whatever_its_address() -> None:
    async def main() -> None:
        inherited = bound()
        listeners = Listeners({"http": Inherited(inherited)})
        await listeners.open([http(port=80)], 1)
        assert listeners.descriptors(["http"], 1) == [inherited.fileno()]
        # The manager listens on, so nobody can be turned away there
        assert not listeners.shut([])
        assert listeners.inheritable()["http"].asked is None
        listeners.close()

    asyncio.run(main())


def test_the_next_supervisor_inherits_what_the_newest_generation_and_the_platform_want() -> None:
    async def main() -> None:
        listeners = Listeners()
        listeners.add("store", bound())  # this one is bound anew each time
        await listeners.open([endpoint("admin", 0)])
        await listeners.open([http(), endpoint("a.lines", 0)], 1)
        await listeners.open([http(), endpoint("b.lines", 0)], 2)
        assert sorted(listeners.inheritable()) == ["admin", "b.lines", "http"]
        listeners.close()

    asyncio.run(main())


def test_nobody_is_let_in_where_no_generation_listens_until_one_does_again() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([http()], 1)
        await listeners.open([http(), endpoint("a.lines", 0)], 2)
        assert not listeners.shut([1, 2])
        with socket.create_connection(("127.0.0.1", listeners.port("a.lines", 2))):
            assert not listeners.waited_at
            assert listeners.shut([1])
            assert listeners.waited_at  # who came before waits to be accepted
        with socket.socket() as newcomer:
            newcomer.setblocking(False)
            newcomer.connect_ex(("127.0.0.1", listeners.port("a.lines", 2)))
            assert newcomer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            with pytest.raises(OSError, match="not connected"):
                newcomer.getpeername()
        await listeners.open([http(), endpoint("a.lines", 0)], 3)
        assert not listeners.waited_at
        assert connects(listeners.port("a.lines", 3))
        listeners.close()

    asyncio.run(main())


def test_each_gets_the_descriptors_of_its_generation_in_the_order_of_the_names() -> None:
    async def main() -> None:
        listeners = Listeners()
        await listeners.open([endpoint("a.lines", 0), endpoint("a.more", 0)], 1)
        there, back = (listeners.descriptors(n, 1) for n in (["a.lines", "a.more"], ["a.more"]))
        assert there[1:] == back
        assert len({*there}) == 2
        assert listeners.names(1) == ["a.lines", "a.more"]
        assert listeners.names(7) == []
        listeners.close()

    asyncio.run(main())


def test_when_one_address_is_taken_the_others_are_let_go() -> None:
    async def main() -> None:
        listeners, port = Listeners(), free_port()
        with bound() as other:
            wanted = [endpoint("a.lines", port), endpoint("a.more", other.getsockname()[1])]
            with pytest.raises(ListenError, match="in use"):
                await listeners.open(wanted, 1)
        assert not connects(port)
        await listeners.open(wanted, 1)
        assert connects(port)
        listeners.close()

    asyncio.run(main())
