"""The title of a process in `ps` and `top`."""

import os

from setproctitle import setproctitle


def set_title(name: str, app: str = "") -> None:
    """Show this process as `platform: web.0@3 shop`, after the app it works for."""
    # Without this the library takes the room of the environment for the title, and with it what
    # operators read in /proc/PID/environ.
    os.environ["SPT_NOENV"] = "1"
    setproctitle(f"platform: {name} {app}".rstrip())
    del os.environ["SPT_NOENV"]
