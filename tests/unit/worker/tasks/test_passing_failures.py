"""What a handler does not catch of a store or a queue that takes nothing for a while."""

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skep.api.plugin import Plugin
from skep.base.errors import EngineError, QueueFull, StoreFull, StoreUnavailable
from tests.web_worker import WebWorker, run_with_worker

CASES = [
    (QueueFull, 503, "1"),
    (StoreUnavailable, 503, "1"),
    (StoreFull, 507, "30"),
    (EngineError, 500, None),
    (LookupError, 500, None),
]
ERRORS = {cls.__name__: cls for cls, _, _ in CASES}


async def fail(request: Request) -> Response:
    raise ERRORS[request.path_params["error"]]("as told")


async def answer_500(request: Request) -> Response:
    try:
        raise StoreFull("caught")
    except StoreFull:
        return Response(status_code=500)


ROUTES = [Route("/answered", answer_500), Route("/{error}", fail)]


@pytest.mark.parametrize("prefix", ["", "/mounted"])
def test_it_is_answered_with_a_time_to_try_again_and_other_mistakes_with_500(
    tmp_path: Path, prefix: str
) -> None:
    """D9: an uncaught StoreUnavailable, QueueFull or StoreFull is no mistake of the handler."""

    async def test(worker: WebWorker) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.port()}") as http:
            for cls, status, wait in CASES:
                answer = await http.get(f"{prefix}/{cls.__name__}")
                assert (answer.status_code, answer.headers.get("retry-after")) == (status, wait)
                assert "as told" not in answer.text
            answered = await http.get(f"{prefix}/answered")
            assert (answered.status_code, "retry-after" in answered.headers) == (500, False)

    plugin = Plugin(routes=ROUTES, mounts={"/mounted": Starlette(routes=ROUTES)})
    run_with_worker(tmp_path, plugin, test)
