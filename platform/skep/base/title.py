"""Tell `ps` and `top` who a process is."""

import os

from setproctitle import setproctitle


def set_title(name: str) -> None:
    """Show this process as `platform: web.0@3`."""
    # Without this the library takes the room of the environment for the title, and with it what
    # operators read in /proc/PID/environ.
    os.environ["SPT_NOENV"] = "1"
    setproctitle(f"platform: {name}")
    del os.environ["SPT_NOENV"]
