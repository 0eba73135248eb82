"""What plugins fork and spawn, and what differs between the workers forked from one zygote."""

from collections.abc import Iterator

import httpx
import pytest

from tests.platform_process import Platform
from tests.support import wait_until

FORKS = """
import asyncio, json, multiprocessing, os, random, signal, threading, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.routing import Route
from skep import EngineError, Hooks, Plugin, Task

FORK, SPAWN = (multiprocessing.get_context(method) for method in ("fork", "spawn"))

AT_IMPORT = FORK.Process(target=time.sleep, args=(60,))
AT_IMPORT.start()
AT_IMPORT.terminate()
AT_IMPORT.join(20)
IMPORT_EXIT = AT_IMPORT.exitcode
AT_IMPORT.kill()

OWN = random.Random()
random.random()

class Note(Task):
    name: str

    def handle(self, ctx):
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(20)
        path = Path(os.environ["PLATFORM_DATA_DIR"]) / f"note {self.name}"
        path.write_text(json.dumps({"pid": os.getpid(), "exit": child.exitcode}))

def square(n):
    return n * n

def after_fork(info):
    OWN.seed()

def nap(how, queue):
    try:
        queue.put("asleep")
        time.sleep(60)
    except KeyboardInterrupt:
        os._exit(3)

def ended(how):
    queue = FORK.SimpleQueue()
    child = FORK.Process(target=nap, args=(how, queue))
    child.start()
    queue.get()
    os.kill(child.pid, {"int": signal.SIGINT, "hup": signal.SIGHUP}.get(how, signal.SIGTERM))
    child.join(20)
    code = child.exitcode
    child.kill()
    return code

async def terminate(request):
    # In the loop's own thread, and in another.
    how = request.path_params["how"]
    codes = [ended(how), await asyncio.to_thread(ended, how)]
    with FORK.Pool(2) as pool:
        squares = pool.map(square, range(4))
    return JSONResponse({"codes": codes, "squares": squares, "pid": os.getpid()})

def say(function, pipe):
    try:
        pipe.send(["done", function()])
    except EngineError as error:
        pipe.send(["EngineError", str(error)])

def deliver():
    return Note(name="from a child").deliver_sync().id

def await_it():
    return asyncio.run(Note(name="from a child").deliver()).id

async def from_child(request):
    said = []
    for context in (FORK, SPAWN):
        for function in (deliver, await_it):
            ours, theirs = context.Pipe()
            child = context.Process(target=say, args=(function, theirs))
            child.start()
            said.append(await asyncio.to_thread(lambda: ours.recv() if ours.poll(20) else None))
            child.kill()
            child.join()
    return JSONResponse(said)

async def spawn(request):
    def work():
        with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
            return list(pool.map(square, range(4)))
    return JSONResponse(await asyncio.to_thread(work))

async def note(request):
    receipt = await Note(name=request.path_params["name"]).deliver()
    return JSONResponse({"id": receipt.id})

async def chance(request):
    values = [random.random(), OWN.random()]
    return JSONResponse({"pid": os.getpid(), "values": values, "import": IMPORT_EXIT})

plugin = Plugin(
    routes=[
        Route("/forks/terminate/{how}", terminate),
        Route("/forks/from-child", from_child),
        Route("/forks/spawn", spawn),
        Route("/forks/note/{name}", note, methods=["POST"]),
        Route("/forks/chance", chance),
    ],
    tasks=[Note],
    hooks=Hooks(after_fork=after_fork),
)
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("forks"))
    (made.plugins / "forks.py").write_text(FORKS)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.parametrize(("how", "code"), [("term", -15), ("hup", -1), ("int", 3)])
def test_a_signal_to_a_process_that_a_handler_forked_is_its_own_affair(
    platform: Platform, how: str, code: int
) -> None:
    """E2: a signal ends the forked child as any Python process, and its worker goes on."""
    before = platform.pids("web")
    answer = platform.get(f"/forks/terminate/{how}")
    assert answer["codes"] == [code, code]
    assert answer["squares"] == [0, 1, 4, 9]
    assert platform.pids("web") == before


def test_a_process_that_a_task_forked_can_be_terminated_and_its_worker_goes_on(
    platform: Platform,
) -> None:
    """E2: the same in a task, in its thread."""
    before = platform.pids("task")
    path = platform.data_dir / "note e2"
    httpx.post(f"{platform.url}/forks/note/e2").raise_for_status()
    wait_until(lambda: path.exists() and path.read_text())
    assert '"exit": -15' in path.read_text()
    assert platform.pids("task") == before


def test_random_numbers_differ_between_workers_and_after_a_replacement(platform: Platform) -> None:
    """E8: `random`, and a generator made at import and seeded in `after_fork`, differ by worker."""

    def values() -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}

        def both() -> bool:
            answer = platform.get("/forks/chance")
            # A process forked while the plugin was imported could be terminated, too (E2).
            assert answer["import"] == -15
            found.setdefault(answer["pid"], answer["values"])
            return len(found) == 2

        wait_until(both)
        return found

    first = values()
    platform.kill(next(iter(first)))
    wait_until(lambda: len(platform.pids("web")) == 2)
    platform.wait_ready()
    drawn = [*first.values(), *values().values()]
    assert len({own for _, own in drawn}) > 2
    assert len({shared for shared, _ in drawn}) > 2


def test_a_forked_child_is_told_at_once_that_it_cannot_deliver_and_a_spawned_one_can(
    platform: Platform,
) -> None:
    """A7: `deliver_sync()` and `deliver()` in a forked child raise EngineError, and do not hang."""
    forked, forked_async, spawned, spawned_async = platform.get("/forks/from-child")
    for kind, text in (forked, forked_async):
        assert kind == "EngineError"
        assert "forked from a worker" in text
    for kind, delivery in (spawned, spawned_async):
        assert kind == "done"
        assert len(delivery) == 32
    assert platform.cli("task", "ls").returncode == 0


def test_a_pool_of_spawned_processes_can_run_functions_of_a_plugin(platform: Platform) -> None:
    """A7: plugins are importable in spawned children."""
    assert platform.get("/forks/spawn") == [0, 1, 4, 9]
