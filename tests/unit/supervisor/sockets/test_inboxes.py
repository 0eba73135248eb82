"""The inboxes of custom processes, as the supervisor keeps them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.base.errors import ListenError
from skep.messaging.address import InboxAddress
from skep.supervisor.sockets.inboxes import Inboxes, divided
from skep.supervisor.sockets.inheritance import Inherited

ECHO, BEAT = "ticker.Echo", "ticker.Beat"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inboxes"


@pytest.fixture
def inboxes(folder: Path) -> Iterator[Inboxes]:
    made = Inboxes(folder, {})
    yield made
    made.close()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def sent(folder: Path, name: str, data: bytes) -> None:
    with InboxAddress(folder, name).connect() as sender:
        sender.send(data)


def received(inboxes: Inboxes, name: str) -> bytes:
    (descriptor,) = inboxes.descriptors([name])
    with socket.socket(fileno=os.dup(descriptor)) as inbox:
        return inbox.recv(100)


def test_generations_share_the_inbox_of_a_name(inboxes: Inboxes, folder: Path) -> None:
    inboxes.open([ECHO], 1)
    sent(folder, ECHO, b"before the rollout")
    (before,) = inboxes.descriptors([ECHO])
    inboxes.open([ECHO, BEAT], 2)
    inboxes.release([2])
    assert inboxes.descriptors([ECHO]) == [before]
    assert received(inboxes, ECHO) == b"before the rollout"
    assert files(folder) == {f"{ECHO}.sock", f"{ECHO}.up", f"{BEAT}.sock", f"{BEAT}.up"}
    assert inboxes.of(f"process.{ECHO}.0") == [ECHO]
    assert inboxes.of("process.ticker.Command.0") == []
    assert inboxes.of("web.0") == []


def test_an_inbox_that_no_generation_wants_is_closed_and_what_waits_is_reported(
    inboxes: Inboxes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inboxes.open([ECHO, BEAT], 1)
    sent(folder, BEAT, b"for no one")
    inboxes.open([ECHO], 2)
    inboxes.release([1, 2])
    assert inboxes.of(f"process.{BEAT}.0") == [BEAT]
    inboxes.release([2])
    assert files(folder) == {f"{ECHO}.sock", f"{ECHO}.up"}
    assert caplog.text.count("are dropped") == 1
    assert f"messages to {BEAT} are dropped" in caplog.text


def test_what_a_refused_generation_wanted_is_closed(inboxes: Inboxes, folder: Path) -> None:
    inboxes.open([ECHO], 1)
    inboxes.open([ECHO, BEAT], 2)
    inboxes.release([1])
    assert files(folder) == {f"{ECHO}.sock", f"{ECHO}.up"}


def test_an_inbox_that_cannot_be_made_is_refused_and_nothing_new_is_bound(tmp_path: Path) -> None:
    (tmp_path / "inboxes").mkdir()
    (tmp_path / "inboxes" / f"{ECHO}.sock").mkdir()
    inboxes = Inboxes(tmp_path / "inboxes", {})
    with pytest.raises(ListenError, match=f"The inbox of the process {ECHO} cannot be made in"):
        inboxes.open([ECHO, BEAT], 1)
    assert inboxes.inheritable() == {}
    inboxes.close()


def test_the_next_supervisor_goes_on_with_the_inboxes_and_what_waits_in_them(folder: Path) -> None:
    before = Inboxes(folder, {})
    before.open([ECHO, BEAT], 1)
    sent(folder, ECHO, b"before the restart")
    (folder / "stale.sock").touch()
    listener = Inherited(socket.socket())
    listeners, handed = divided({"http": listener, **before.inheritable()})
    assert listeners == {"http": listener}
    after = Inboxes(folder, handed)
    after.open([ECHO], 1)
    assert received(after, ECHO) == b"before the restart"
    assert files(folder) == {f"{ECHO}.sock", f"{ECHO}.up", f"{BEAT}.sock", f"{BEAT}.up"}
    after.release([1])  # the first generation does not want it any more
    assert files(folder) == {f"{ECHO}.sock", f"{ECHO}.up"}
    after.close()
    assert files(folder) == set()
    listener.sock.close()


def test_an_inherited_inbox_whose_file_is_gone_is_bound_again(folder: Path) -> None:
    before = Inboxes(folder, {})
    before.open([ECHO], 1)
    InboxAddress(folder, ECHO).path.unlink()
    after = Inboxes(folder, before.inheritable())
    after.open([ECHO], 1)
    sent(folder, ECHO, b"found")
    assert received(after, ECHO) == b"found"
    after.close()
