"""`/services/*` and `/health`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def routes() -> list[Route]:
    """Return the routes; what they answer is not secret, so none is signed."""
    return [
        Route("/services/config", _config, methods=_ANY_METHOD),
        Route("/services/admin", _admin, methods=_ANY_METHOD),
        Route("/services/meta", _meta, methods=_ANY_METHOD),
        Route("/health", _health),
    ]


async def _config(request: Request) -> Response:
    return _services(request, "config")


async def _admin(request: Request) -> Response:
    return _services(request, "admin")


def _services(request: Request, kind: str) -> Response:
    """Answer this server only, by the name that the client used: a container's own address may not
    be reachable."""
    url = str(request.base_url)
    return JSONResponse(
        [
            {
                "appName": f"APOLLO-{kind.upper()}SERVICE",
                "instanceId": f"apollo-{kind}service:{url}",
                "homepageUrl": url,
            }
        ]
    )


async def _meta(request: Request) -> Response:
    return JSONResponse([])


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "UP"})
