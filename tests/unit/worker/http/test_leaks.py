"""Which module global or class attribute a request has changed."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from starlette.types import Receive, Scope, Send

from skep.worker.http.leaks import LeakWatch

CODE = """
from contextvars import ContextVar

SEEN = []
LIMITS = {"deep": {"er": [1]}}
count = 0
current = None
USER = ContextVar("user", default="")


class Cart:
    items = {}

    def __init__(self):
        self.total = 0


cart = Cart()


def nothing(): USER.set("bee")
def append(): SEEN.append(1)
def rebind():
    global current
    current = Cart()
def count_up():
    global count
    count += 1
def attribute(): Cart.items["bee"] = 1
def instance(): cart.total += 1
def deep(): LIMITS["deep"]["er"][0] = 2
def new():
    global invented
    invented = 1
def there_and_back():
    SEEN.append(1)
    SEEN.pop()
"""


@pytest.fixture
def shop() -> Iterator[ModuleType]:
    module = ModuleType("plugins.shop")
    sys.modules["plugins.shop"] = module
    exec(CODE, vars(module))
    yield module
    del sys.modules["plugins.shop"]


def request(shop: ModuleType, handlers: list[str]) -> None:
    """Answer one request after the other with these functions of the plugin."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        getattr(shop, scope["path"])()

    async def run() -> None:
        watch = LeakWatch(app)
        for name in handlers:
            scope = {"type": "http", "method": "GET", "path": name}
            await watch(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        ("append", "plugins.shop.SEEN"),
        ("rebind", "plugins.shop.current"),
        ("count_up", "plugins.shop.count"),
        ("attribute", "plugins.shop.Cart.items"),
        ("instance", "plugins.shop.cart"),
        ("deep", "plugins.shop.LIMITS"),
        ("new", "plugins.shop.invented"),
    ],
)
def test_a_polluting_handler_is_named_once(
    shop: ModuleType, caplog: pytest.LogCaptureFixture, handler: str, name: str
) -> None:
    request(shop, ["nothing", handler, handler])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{name} was changed by GET {handler} (")


@pytest.mark.parametrize("handler", ["nothing", "there_and_back"])
def test_a_clean_handler_is_not(
    shop: ModuleType, caplog: pytest.LogCaptureFixture, handler: str
) -> None:
    request(shop, [handler, handler])
    assert caplog.records == []


PROXIES = """
class Proxy:
    \"\"\"As Flask's `request` outside of a request: every question about it raises.\"\"\"

    def _refuse(self, *_):
        raise RuntimeError("working outside of request context")

    __class__ = property(_refuse)
    __getattr__ = __iter__ = __len__ = __eq__ = __hash__ = __bool__ = __repr__ = _refuse


class Sly(dict):
    def items(self): raise RuntimeError("no items")
    def __len__(self): raise RuntimeError("no length")


class Odd(type):
    def __getattribute__(cls, name): raise RuntimeError("no " + name)


class Oddity(metaclass=Odd):
    pass


request = Proxy()
held = {"by": [Proxy()]}
sly = Sly(a=1)
odd = Oddity()
nan = float("nan")
SEEN = []


def nothing(): pass
def append(): SEEN.append(1)
"""


def test_what_refuses_to_be_looked_at_fails_no_request_and_hides_no_leak(
    shop: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """A1: an object of a plugin that raises whatever it is asked is reported at most once."""
    exec(PROXIES, vars(shop))
    request(shop, ["nothing", "append", "nothing"])
    changes = [r.getMessage() for r in caplog.records if "was changed" in r.getMessage()]
    assert [line.split()[0] for line in changes] == ["plugins.shop.SEEN"]
    others = [r.getMessage() for r in caplog.records if "cannot be watched" in r.getMessage()]
    assert len(others) == len(set(others))


def test_what_cannot_be_looked_at_is_said_once(
    shop: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ModuleType):
        @property
        def __dict__(self) -> dict[str, object]:  # type: ignore[override]
            raise RuntimeError("secret text")

    sys.modules["plugins.broken"] = Broken("plugins.broken")
    try:
        request(shop, ["nothing", "nothing"])
    finally:
        del sys.modules["plugins.broken"]
    (record,) = caplog.records
    assert "plugins.broken cannot be watched for changes" in record.getMessage()
    assert "secret text" not in record.getMessage()
