"""Which pages may open a WebSocket."""

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from skep import Plugin
from tests.website import Website, request, run_website

HANDSHAKE = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()


PLUGIN = Plugin([WebSocketRoute("/chat", chat)])


def check(allowed: dict[str, bool], *more: str, **options: object) -> None:
    """Open a WebSocket for each origin, on a site called `test`."""

    async def test(site: Website) -> None:
        for origin, expected in allowed.items():
            said = [f"origin: {origin}"] if origin else []
            connection = await site.connect()
            await connection.send(request("/chat", *HANDSHAKE, *more, *said))
            answer = await connection.answer(head_only=expected)
            assert answer.status == (101 if expected else 403), origin
            assert expected or b"PLATFORM_WEBSOCKET_ORIGINS" in answer.body

    run_website(PLUGIN, test, **options)


def test_a_page_of_another_site_gets_no_websocket() -> None:
    """D21: the same origin by default."""
    check(
        {
            "": True,  # not a browser
            "http://test": True,
            "https://TEST": True,  # TLS ends at a proxy
            "http://test:80": True,
            "http://evil.example": False,
            "http://test.evil.example": False,
            "http://test:8080": False,
            "null": False,
            "http://[broken": False,
        }
    )


def test_other_sites_can_be_allowed() -> None:
    """D21: PLATFORM_WEBSOCKET_ORIGINS."""
    check(
        {"https://shop.example": True, "http://shop.example": False, "https://evil.example": False},
        websocket_origins=("https://Shop.example:443",),
    )
    check({"https://evil.example": True, "null": True}, websocket_origins=("*",))


def test_the_host_of_a_trusted_proxy_counts() -> None:
    host = "x-forwarded-host: shop.example"
    seen = {"https://shop.example": True, "http://test": False}
    check(seen, host, trusted_proxies=("127.0.0.1",))
    check({origin: not allowed for origin, allowed in seen.items()}, host)
