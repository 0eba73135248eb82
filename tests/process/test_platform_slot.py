"""A slot of the platform's own as the supervisor sees it: what it answers on its channel."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from skep.config.options.table import Options
from skep.wire.channel import CHANNEL_FD, BlockingChannel, pair
from skep.wire.messages import Boot, Change, Changed, Drain, Hello, Message, MetricFrame, Prepared

pytestmark = pytest.mark.process

SLOT = f"""
import logging, os, sys
os.dup2(int(sys.argv[1]), {CHANNEL_FD})
from skep.wire.lifecycle import Role
from skep.wire.platform_slot import run

class Slot(Role):
    async def stop(self):
        print(logging.getLevelName(logging.getLogger().level))

sys.exit(run(lambda boot, send: Slot(), lambda: {{"families": []}}))
"""


class Slot:
    """A process with nothing to do, and our end of its channel."""

    def __init__(self) -> None:
        ours, theirs = pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", SLOT, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.channel = BlockingChannel(ours)
        ours.settimeout(20)
        self.channel.send(Boot("idle.0", "idle", 0, "run", Options(app_id="test").to_json()))

    def receive(self, kind: type[Message]) -> list[Message]:
        """Return the messages up to one of this kind."""
        received = [self.channel.receive()[0]]
        while not isinstance(received[-1], kind):
            received.append(self.channel.receive()[0])
        return received

    def end(self) -> tuple[str, str]:
        """Drain it; return what it printed."""
        self.channel.send(Drain(1.0))
        return self.process.communicate(timeout=20)


@pytest.fixture
def slot() -> Iterator[Slot]:
    slot = Slot()
    yield slot
    slot.process.kill()
    slot.process.communicate()
    slot.channel.close()


def test_it_takes_another_log_level_and_answers(slot: Slot) -> None:
    slot.receive(Prepared)
    slot.channel.send(Change(7, {}, apply=True, log_level="debug"))
    assert slot.receive(Changed)[-1] == Changed(7, True)
    assert slot.end() == ("DEBUG\n", "")


def test_its_metrics_are_known_before_it_does_anything(slot: Slot) -> None:
    """A child that is killed at once has said by then what it counts."""
    kinds = [type(message) for message in slot.receive(Prepared)]
    assert kinds.index(Hello) < kinds.index(MetricFrame) < kinds.index(Prepared)
