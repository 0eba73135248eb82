"""An inbox in a directory of the test's own, with both of its sides in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.base.telemetry import Telemetry
from skep.messaging.address import InboxAddress
from skep.messaging.binding import PostOffice, bind
from skep.messaging.inbox import Inbox


@pytest.fixture
def address(tmp_path: Path) -> InboxAddress:
    return InboxAddress(tmp_path / "inboxes", "ticker.Echo")


@pytest.fixture
def office(address: InboxAddress) -> Iterator[PostOffice]:
    made = PostOffice(address.folder, Telemetry())
    before = bind(made)
    yield made
    bind(before)
    made.outbox.close()


@pytest.fixture
def refused() -> list[str]:
    """The reasons for which the inbox has refused what came."""
    return []


@pytest.fixture
def inbox(address: InboxAddress, refused: list[str]) -> Iterator[Inbox]:
    made = Inbox(address, address.bind(), 2**20, refused.append)
    made.hold()
    yield made
    made.close()
