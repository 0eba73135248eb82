"""A process that forks others outlives that it cannot."""

import errno
import logging
import os
import socket

import pytest

from skep.wire.channel import BlockingChannel, pair
from skep.worker.birth.forker import Forker


def test_what_cannot_be_forked_is_said_once_and_its_channel_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    ours, theirs = pair()
    with ours, theirs, caplog.at_level(logging.ERROR):
        forker = Forker(BlockingChannel(theirs))
        for slot in ("web.0", "web.1"):
            end, channel = socket.socketpair()
            with end:
                assert forker._fork([(slot, channel)]) is None
                assert end.recv(1) == b""
    assert [record.message for record in caplog.records] == [
        "no process can be forked (Resource temporarily unavailable); it is tried again"
    ]
