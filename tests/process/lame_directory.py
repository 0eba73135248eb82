"""A platform whose data directory takes no new file, in a mount namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
import os
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

async def show(request):
    return JSONResponse({"pid": os.getpid()})

plugin = Plugin(routes=[Route("/", show)])
"""


def main(directory: Path) -> None:
    platform = Platform(directory, PLATFORM_WEB_WORKERS="1")
    (platform.plugins / "plain.py").write_text(PLUGIN)
    platform.data_dir.mkdir(mode=0o700)
    options = "size=64m,nr_inodes=300,mode=0700"
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(platform.data_dir))
    try:
        platform.start()
        for by in ("no inodes", "read-only"):
            lame(platform, by)
            # When the web worker dies, then another serves, without push, and says so
            old = platform.get()["pid"]
            platform.kill(old)
            wait_until(lambda: answers(platform) not in (None, old))  # noqa: B023
            reasons = wait_until(lambda: without_push(platform))
            assert reasons[0].startswith("web.0: serves without push: "), reasons
            # When there is room again, then pushes arrive without a restart
            serving = answers(platform)
            mend(platform, by)
            wait_until(lambda: not without_push(platform))
            assert list((platform.data_dir / "mesh").glob(f"*.{serving}.sock"))
    finally:
        platform.stop()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def lame(platform: Platform, by: str) -> None:
    mesh = platform.data_dir / "mesh"
    if by == "read-only":  # the whole directory cannot be made so while the store writes there
        mount("-t", "tmpfs", "-o", "ro,mode=0700", "tmpfs", str(mesh))
        return
    fillers = platform.data_dir / "fillers"
    fillers.mkdir()
    for socket in mesh.iterdir():  # one that is swept would make room
        socket.rename(fillers / socket.name)
    try:
        for number in range(1000):
            (fillers / str(number)).touch()
    except OSError:
        return
    raise AssertionError("there was always an inode left")


def mend(platform: Platform, by: str) -> None:
    if by == "read-only":
        mount("-o", "remount,rw", str(platform.data_dir / "mesh"))
    for path in platform.data_dir.glob("fillers/*"):
        path.unlink()


def answers(platform: Platform) -> int | None:
    """Return the process id of the worker that answers, None if none does."""
    try:
        return int(platform.get()["pid"])
    except httpx.HTTPError:
        return None


def without_push(platform: Platform) -> list[str]:
    return [reason for reason in platform.status()["reasons"] if "without push" in reason]


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir()
    os.chdir(where)
    main(where)
