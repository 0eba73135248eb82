"""Requests go to whoever can take them: a whole platform with a worker that cannot."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
import time
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.routing import Route

from skep import Plugin, Worker


async def quick(request):
    return JSONResponse({"worker": Worker.current().name})


async def stuck(request):
    Path("stuck").touch()
    while not Path("free").exists():
        time.sleep(0.01)  # the whole worker waits
    return JSONResponse({"worker": Worker.current().name})


plugin = Plugin(routes=[Route("/", quick), Route("/stuck", stuck)])
"""


def test_dispatch_modes_nobody_waits_for_a_worker_that_is_blocked(platform: Platform) -> None:
    (platform.plugins / "site.py").write_text(PLUGIN)
    platform.start()
    with ThreadPoolExecutor(25) as threads:
        # Given a worker that does nothing but wait, until this test says otherwise
        waiting = threads.submit(httpx.get, f"{platform.url}/stuck", timeout=30)
        wait_until((platform.directory / "stuck").exists)
        # When fifty come, each on a connection of its own, all are answered by the other
        answers: list[dict[str, Any]] = list(threads.map(platform.get, ["/"] * 50))
        assert not waiting.done()
        (platform.directory / "free").touch()
        blocked = waiting.result().json()["worker"]
    assert {answer["worker"] for answer in answers} == {"web.0@1", "web.1@1"} - {blocked}
