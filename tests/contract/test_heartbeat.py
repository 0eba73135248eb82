"""The word of a process that it lives, on a real socket."""

import socket
from pathlib import Path

from skep.base.rundir import bind_unix
from skep.engine import protocol
from skep.engine.heartbeat import Heartbeat

OWNER = "task.0@1:1"


def test_a_short_lease_time_that_is_told_late_is_kept_from_the_first_beat(tmp_path: Path) -> None:
    # A loop that blocks right after it has leased says nothing else until it is free again.
    frame = protocol.frame(protocol.Pulse(OWNER))
    with bind_unix(tmp_path / "store.sock") as listener:
        listener.setblocking(True)
        heartbeat = Heartbeat(tmp_path / "store.sock", OWNER)
        heartbeat.start()
        try:
            line, _ = listener.accept()
            with line:
                assert line.recv(len(frame), socket.MSG_WAITALL) == frame
                heartbeat.term = 2.0
                line.settimeout(heartbeat.term)
                assert line.recv(len(frame), socket.MSG_WAITALL) == frame
        finally:
            heartbeat.stop()
