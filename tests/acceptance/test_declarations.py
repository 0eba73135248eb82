"""What an author declares wrongly, forgets to declare, or hands over in an unusual shape."""

import json
import textwrap
from pathlib import Path

import httpx

from tests.platform_process import Platform
from tests.support import wait_until

GOOD = """
from starlette.responses import JSONResponse
from starlette.routing import Route
from skep import Plugin

async def index(request):
    return JSONResponse("good")

plugin = Plugin(routes=[Route("/", index)])
"""
# Faults of several fields, in one plugin; and one more in a decorator of another.
WRONG = """
from starlette.routing import Route
from skep import Listener, Plugin, Settings, Task, cron

class Keys(Settings):
    password: str = "hunter2"

class Send(Task):
    async def handle(self): ...

@cron(every="1s")
def beat(): ...

async def life(app):
    yield

plugin = Plugin(
    routes=[("/", beat)],
    mounts={"api": beat},
    tasks=[Send],
    listeners=[Send],
    crons=[beat],
    settings=[Keys()],
    lifespan=life,
)
"""
SENTENCES = (
    "routes[0] is a tuple of 2; routes takes a list of Starlette routes",
    "mounts, a dict of 1, has the key 'api', and a path prefix begins with a slash",
    "has a method handle that takes (), but it is called with (ctx)",
    "listeners[0] is the class plugins.wrong.Send; listeners takes a list of",
    "takes (), but it is called with (tick)",
    "settings[0] is an object of the class plugins.wrong.Keys; settings takes a list of",
    "by itself: decorate it with @asynccontextmanager",
)
BARE = (
    "from skep import Plugin, cron\n\n@cron\ndef beat(tick): ...\n\nplugin = Plugin(crons=[beat])\n"
)


def write(platform: Platform, name: str, text: str) -> Path:
    """Write a plugin."""
    path = platform.plugins / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    return path


def hold_sentences(said: str, path: Path) -> None:
    """Expect every fault of WRONG, with the plugin and the place, and nothing of our insides."""
    for sentence in SENTENCES:
        assert sentence in said
    assert f"plugin wrong: {path}:" in said
    assert "while it loaded" not in said
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_a_wrong_declaration_is_named_by_check_by_start_and_by_a_refused_rollout(
    platform: Platform,
) -> None:
    """A3: with the plugin, the field, what was given and what it takes; the old goes on serving."""
    platform.environment["PLATFORM_WEB_WORKERS"] = "1"
    write(platform, "good", GOOD)
    wrong = write(platform, "wrong", WRONG)
    checked = platform.cli("check")
    assert checked.returncode == 3
    hold_sentences(checked.stderr, wrong)
    platform.start(ready=False)
    assert platform.wait_end() == 3
    hold_sentences(platform.output(), wrong)

    wrong.unlink()
    platform.start()
    wrong = write(platform, "wrong", WRONG)
    reloaded = platform.cli("reload")
    assert reloaded.returncode == 1
    hold_sentences(reloaded.stdout + reloaded.stderr, wrong)
    wrong.write_text(BARE)
    reloaded = platform.cli("reload")
    assert "@cron above beat needs parentheses and a time" in reloaded.stdout + reloaded.stderr
    assert "needs parentheses" in json.dumps(platform.status()["refused"])
    assert (platform.get("/"), platform.status()["generation"]) == ("good", 1)


SHADOW = """
from prometheus_client import Counter
from skep import Plugin

Counter("platform_http_requests", "Requests.")
plugin = Plugin()
"""


def test_a_metric_with_a_name_of_ours_is_refused_by_check_by_start_and_by_a_rollout(
    platform: Platform,
) -> None:
    """A21: it vanished, because the platform's of that name counts."""
    platform.environment["PLATFORM_WEB_WORKERS"] = "1"
    write(platform, "good", GOOD)
    shadow = write(platform, "shadow", SHADOW)
    said = "It makes the metric platform_http_requests_total: names with platform_ are the platform"
    checked = platform.cli("check")
    assert checked.returncode == 3
    assert "plugin shadow" in checked.stderr
    assert said in checked.stderr
    assert "for example http_requests_total" in checked.stderr
    platform.start(ready=False)
    assert platform.wait_end() == 3
    assert said in platform.output()
    shadow.unlink()
    platform.start()
    write(platform, "shadow", SHADOW)
    reloaded = platform.cli("reload")
    assert reloaded.returncode == 1
    assert said in reloaded.stdout + reloaded.stderr
    assert (platform.get("/"), platform.status()["generation"]) == ("good", 1)


SHAPES = '''
import datetime
import functools
import os
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route
from skep import Backoff, Context, Event, Hooks, Plugin, Settings, Task, cron, on, task

DIARY = Path(os.environ["PLATFORM_DATA_DIR"]) / "shapes"


def write(text):
    with DIARY.open("a") as file:
        file.write(text + "\\n")


class Proxy:
    """As Flask's `request`: raises whatever it is asked outside of its context."""

    def _refuse(self, *_):
        raise RuntimeError("working outside of request context")

    __class__ = property(_refuse)
    __getattr__ = __iter__ = __len__ = __eq__ = __bool__ = __repr__ = _refuse


request_of_flask = Proxy()


class Meta(type):
    """As of libraries whose classes run code when they are asked for something."""

    def __getattribute__(cls, name):
        raise RuntimeError("not now")


class Lazy(metaclass=Meta): ...


def logged(function):
    """A decorator that knows nothing of coroutines."""

    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


class Decorated(Task):
    @logged
    async def handle(self, ctx):
        write("task")

    @logged
    async def finish(self, result, ctx):
        write("finish")


class Generating(Task):
    @logged
    def handle(self, ctx):
        write("never")
        yield


class Returning(Task):
    tries = 3
    backoff = Backoff(first=0.01)
    keep_result = 60

    async def handle(self, ctx):
        write("returning")
        return {1, 2}


class Anything(Task):
    value: Any

    async def handle(self, ctx): ...


class Forgotten(Task):
    async def handle(self, ctx): ...


class Unheard(Event): ...


class Heard(Event): ...


class ForgottenSettings(Settings):
    color: str = "red"


@on(Heard)
@logged
async def listen(event, ctx):
    write("listener")


@cron(every="50ms", name="tick")
@logged
async def tick(tick):
    write("cron")


@cron(every="50ms", name="generating")
@logged
def generating(tick):
    yield


@logged
async def started(info):
    write("hook")


async def deliver(request):
    await Decorated().deliver()
    await Generating().deliver()
    await Returning().deliver()
    await Heard().fire()
    return JSONResponse("delivered")


async def lose(request):
    refused = []
    for attempt in (
        Forgotten().deliver,
        Unheard().fire,
        lambda: ForgottenSettings.current(),
        Anything(value=datetime.date(2026, 1, 2)).deliver,
    ):
        try:
            await attempt()
        except Exception as error:
            refused.append(str(error))
    return JSONResponse(refused)


plugin = Plugin(
    routes=[Route("/deliver", deliver), Route("/lose", lose)],
    tasks=[Decorated, Generating, Returning, Anything],
    listeners=[listen],
    crons=[tick, generating],
    hooks=Hooks(worker_start=started),
)
'''


def test_nothing_an_author_hands_over_is_lost_without_a_word(platform: Platform) -> None:
    """A1, A2, A4, A5, A12: a diagnosis fails no request; what no plugin declares raises; an async
    function behind a plain decorator runs, a generator fails; a payload that would change is
    refused; a result that is no JSON costs one run."""
    platform.environment |= {"PLATFORM_WEB_WORKERS": "1", "PLATFORM_LEAK_CHECK": "true"}
    write(platform, "shapes", SHAPES)
    checked = platform.cli("check")
    assert checked.returncode == 0, checked.stderr
    for name, field in (("Forgotten", "tasks"), ("Unheard", "events")):
        assert f"plugins.shapes.{name} is in no Plugin({field}=[…])" in checked.stderr
    assert "plugins.shapes.ForgottenSettings is in no Plugin(settings=[…])" in checked.stderr

    platform.start()
    assert platform.get("/deliver") == "delivered"
    forgotten, unheard, settings, changed = platform.get("/lose")
    assert "plugins.shapes.Forgotten cannot be delivered: it is in no Plugin(tasks" in forgotten
    assert "plugins.shapes.Unheard cannot be delivered: it is in no Plugin(events" in unheard
    assert "ForgottenSettings is used and in no Plugin(settings=[…])" in settings
    assert "value is a date and would be a str" in changed
    assert httpx.get(f"{platform.url}/nowhere").status_code == 404

    diary = platform.data_dir / "shapes"
    wanted = {"task", "finish", "listener", "cron", "hook", "returning"}
    wait_until(lambda: wanted <= set(diary.read_text().split()))

    def dead() -> dict[str, str]:
        rows = json.loads(platform.cli("dead", "ls", "--json").stdout)
        return {row["name"]: row["reason"] for row in rows}

    wanted_dead = {"shapes.Generating": "failed", "shapes.Returning": "invalid_result"}
    wait_until(lambda: dead() == wanted_dead, interval=0.2)
    assert diary.read_text().split().count("returning") == 1
    assert "never" not in diary.read_text()

    def failed_ticks() -> float:
        name = 'platform_cron_runs_total{cron="shapes.generating",outcome="failure"}'
        return platform.counters().get(name, 0.0)

    wait_until(failed_ticks)
