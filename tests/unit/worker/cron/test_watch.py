"""The watch over the loop, in a process of its own, because it ends that."""

import subprocess

from tests.process.store_child import start_python

_CHILD = """
import asyncio, sys, time
from skep.api.cron import cron
from skep.base.telemetry import Telemetry
from skep.table.journal import CronRun
from skep.worker.cron.execution import CronExecution, execute
from skep.worker.cron.watch import LoopWatch

LIMIT = 0.4

@cron(every="1s")
async def hangs(tick):
    what = sys.argv[1]
    if what == "blocks":
        time.sleep(60)
    elif what == "computes":
        while True:
            pass
    elif what == "child":
        await asyncio.create_task(block())
    elif what == "waits":
        await asyncio.sleep(3 * LIMIT)
    elif what == "thread":
        await asyncio.to_thread(time.sleep, 3 * LIMIT)
    elif what == "often":
        for _ in range(6):
            time.sleep(LIMIT / 2)
            await asyncio.sleep(0)

async def block():
    time.sleep(60)

def hung(execution, stack):
    print(execution.name if execution else "nothing", execution and execution.run.n)
    print("block" in stack or "hangs" in stack, flush=True)
    if "stuck" in sys.argv:
        time.sleep(60)

async def main():
    watch = LoopWatch(LIMIT, hung, 13)
    if sys.argv[1] == "no cron":
        time.sleep(60)
    await execute(CronExecution("pulse.hangs", hangs, CronRun(7, 0.0)), Telemetry(), 0.0)
    watch.stop()
    print("over", flush=True)

asyncio.run(main())
"""


def run(*arguments: str) -> tuple[int, list[str]]:
    child = start_python(
        "-c", _CHILD, *arguments, env={"PYTHONPATH": "platform"}, stdout=subprocess.PIPE
    )
    output, _ = child.communicate(timeout=30)
    return child.returncode, output.decode().splitlines()


def test_a_cron_that_blocks_the_loop_is_named_and_its_process_ends() -> None:
    for how in ("blocks", "computes", "child"):
        assert run(how) == (13, ["pulse.hangs 7", "True"]), how


def test_what_is_no_cron_is_reported_too() -> None:
    assert run("no cron") == (13, ["nothing None", "False"])


def test_a_report_that_hangs_itself_does_not_keep_the_process() -> None:
    code, output = run("blocks", "stuck")
    assert (code, output[0]) == (13, "pulse.hangs 7")


def test_what_waits_computes_in_a_thread_or_for_a_short_time_is_left_alone() -> None:
    for how in ("waits", "thread", "often"):
        assert run(how) == (0, ["over"]), how
