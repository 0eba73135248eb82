"""What a zygote says of the plugins it has loaded, each time in an interpreter of its own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

LOAD = """
import json, sys
from skep.config.options.table import Options
from skep.wire.messages import Boot
from skep.worker.birth.loaded import load
found = load(Boot("zygote", "zygote", 0, "", Options(plugins=(sys.argv[1],)).to_json()))
problems = [vars(problem) for problem in found] if isinstance(found, list) else []
warnings = [] if problems else found.plan.warnings
print(json.dumps({"problems": problems, "warnings": warnings}))
"""


def load(folder: Path, text: str) -> dict[str, Any]:
    """Return the problems and the warnings about a plugin `shop`."""
    (folder / "shop.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "-P", "-c", LOAD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_whatever_fails_after_the_import_is_a_problem_with_its_traceback(tmp_path: Path) -> None:
    """A3: a declaration that no check foresees ended the zygote with "exited with 1"."""
    found = load(
        tmp_path,
        """
        from starlette.routing import BaseRoute
        from skep import Plugin

        class Odd(BaseRoute):
            @property
            def path(self):
                raise LookupError("no path today")

        plugin = Plugin(routes=[Odd()])
        """,
    )
    (problem,) = found["problems"]
    assert "LookupError: no path today" in problem["message"]
    assert "Traceback" in problem["trace"]


def test_settings_that_are_read_at_import_and_not_declared_are_a_problem(tmp_path: Path) -> None:
    """A2: they were never validated, and their changes went unnoticed."""
    text = """
        from skep import Plugin, Settings

        class Mail(Settings):
            port: int = 25

        PORT = Mail.current().port
        plugin = Plugin()
        """
    (problem,) = load(tmp_path, text)["problems"]
    assert problem["plugin"] == "shop"
    assert "plugins.shop.Mail is used and in no Plugin(settings=[…])" in problem["message"]


def test_what_a_module_defines_and_nothing_declares_is_a_warning(tmp_path: Path) -> None:
    """A2: and a base class, a private one, or what has been declared is none."""
    found = load(
        tmp_path,
        """
        from skep import CronJob, Event, Listener, Plugin, Settings, Task, cron, on, task
        from skep.api.tasks.platform_events import ConfigChanged

        class Paid(Event): ...
        class Heard(Event): ...
        class Idle(Task): ...
        class Send(Task):
            async def handle(self, ctx): ...
        class Declared(Send):
            pass
        class _Private(Declared):
            pass
        class Forgotten(Send):
            pass
        @task
        async def mail(ctx): ...
        @on(Heard)
        def note(event, ctx): ...
        class OnPaid(Listener[Paid]):
            async def handle(self, event, ctx): ...
        @cron(every="1s")
        def beat(tick): ...
        @cron(every="1s")
        def declared_beat(tick): ...
        class Timeless(CronJob): ...
        class Timed(CronJob):
            every = "1s"
            def run(self, tick): ...
        class Mail(Settings): ...

        class Proxy:
            __class__ = property(lambda self: 1 / 0)
            def __getattr__(self, name): raise RuntimeError(name)
        proxy = Proxy()

        plugin = Plugin(tasks=[Declared], listeners=[note], crons=[declared_beat])
        """,
    )
    assert found["problems"] == []
    names = [
        warning.partition(" ")[0].removeprefix("plugins.shop.") for warning in found["warnings"]
    ]
    assert names == ["Forgotten", "Mail", "OnPaid", "Paid", "Timed", "beat", "mail"]


def test_the_trigger_of_from_crontab_is_a_warning_in_the_plan(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        from apscheduler.triggers.cron import CronTrigger
        from skep import Plugin, cron

        @cron(trigger=CronTrigger.from_crontab("0 3 * * 1"))
        def report(tick): ...

        plugin = Plugin(crons=[report])
        """,
    )
    assert found["problems"] == []
    (warning,) = found["warnings"]
    assert 'shop.report looks like CronTrigger.from_crontab("0 3 * * 1")' in warning
