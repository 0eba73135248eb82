"""The nursery: what is forked there is as good as a fresh interpreter, and nobody depends on it."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
import os, sys, time
import sitecustomize
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

async def show(request):
    return JSONResponse({
        "site": sitecustomize.VALUE,
        "greeting": os.environ.get("GREETING"),
        "optimize": sys.flags.optimize,
        "zone": time.strftime("%Z"),
        "zygote": os.getppid(),
    })

plugin = Plugin(routes=[Route("/", show)])
"""


def said(platform: Platform) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(platform.url).raise_for_status().json()
    return answer


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def reloaded(platform: Platform, environment: str) -> dict[str, Any]:
    """What is said after a reload with these lines in `.env.local`."""
    (platform.directory / ".env.local").write_text(environment)
    done = platform.cli("reload")
    assert done.returncode == 0, done.stderr
    return said(platform)


def test_every_generation_is_forked_there_and_fresh_where_it_has_to_be(platform: Platform) -> None:
    library = platform.directory / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text("VALUE = 1\n")
    (platform.plugins / "show.py").write_text(PLUGIN)
    platform.environment["PYTHONPATH"] = str(library)
    platform.start()
    nursery = platform.nursery()
    first = said(platform)
    assert (first["site"], first["greeting"], first["optimize"]) == (1, None, 0)
    assert parent(first["zygote"]) == nursery
    # The environment of the next is its own, and what is gone there is gone
    second = reloaded(platform, "GREETING=hello\n")
    assert second["greeting"] == "hello"
    assert second["zygote"] != first["zygote"]
    assert parent(second["zygote"]) == nursery
    assert reloaded(platform, "")["greeting"] is None
    platform.publish("GREETING=again", "OTHER=1")
    wait_until(lambda: said(platform)["greeting"] == "again")
    platform.publish("--delete", "GREETING")
    wait_until(lambda: said(platform)["greeting"] is None)
    # What the interpreter itself reads needs another interpreter
    third = reloaded(platform, "PYTHONOPTIMIZE=1\n")
    assert third["optimize"] == 1
    assert parent(third["zygote"]) == nursery
    assert reloaded(platform, "")["optimize"] == 0
    platform.publish("TZ=ABC-9")
    wait_until(lambda: said(platform)["zone"] == "ABC")
    # And so does a library that has been installed anew
    (library / "sitecustomize.py").write_text("VALUE = 22\n")
    assert platform.cli("reload").returncode == 0
    assert said(platform)["site"] == 22
    # More than any interpreter can be started with is refused, and named
    too_much = "".join(f"K{n}={'x' * 120_000}\n" for n in range(70))
    (platform.directory / ".env.local").write_text(too_much + "PYTHONOPTIMIZE=1\n")
    done = platform.cli("reload")
    assert done.returncode == 1
    assert "The zygote cannot be started: Argument list too long" in done.stderr


def test_a_platform_without_one_has_another_and_reloads_all_the_same(sampled: Platform) -> None:
    sampled.start()
    nursery = sampled.nursery()
    os.kill(nursery, signal.SIGKILL)
    # At once, when there is none
    assert sampled.cli("reload").returncode == 0
    wait_until(lambda: '"nursery"' in sampled.cli("ps", "--json").stdout)
    second = sampled.nursery()
    assert second != nursery
    # One that is stuck is given up
    os.kill(second, signal.SIGSTOP)
    assert sampled.cli("reload").returncode == 0
    wait_until(lambda: not Path(f"/proc/{second}").exists())
    wait_until(lambda: '"nursery"' in sampled.cli("ps", "--json").stdout)
    assert sampled.cli("reload").returncode == 0
    assert sampled.cli("stop").returncode == 0
    assert sampled.wait_end() == 0
    assert sampled.tree() == []
