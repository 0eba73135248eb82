"""Tell `ps` and `top` who a process is."""

from setproctitle import setproctitle


def set_title(name: str) -> None:
    """Show this process as `platform: web.0@3`."""
    setproctitle(f"platform: {name}")
