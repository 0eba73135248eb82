"""What is checked of custom processes when all are known."""

import getpass
import os
import types
from pathlib import Path
from typing import Any

import pytest

from skep.api.plugin import Plugin
from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process
from skep.base.errors import PluginError
from skep.config.options.table import Options
from skep.wire.plan import ProcessPlan
from skep.worker.loading import processes
from skep.worker.loading.catalog import Catalog


def made(name: str, module: str = "plugins.shop", **options: Any) -> type[Process]:
    body: dict[str, Any] = {"__module__": module, "__qualname__": name}
    if "command" not in options:

        async def run(self: Process, ctx: ProcessContext) -> None: ...

        body["run"] = run
    found: type[Process] = types.new_class(
        name, (Process,), options, lambda namespace: namespace.update(body)
    )
    return found


def problems(*classes: type[Process], options: Options | None = None) -> list[str]:
    catalog = Catalog.collect({"shop": Plugin(processes=classes)})
    found = processes.problems(catalog, options or Options())
    assert all((problem.stage, problem.plugin) == ("load", "shop") for problem in found)
    return [problem.message for problem in found]


def test_the_plan_has_what_the_supervisor_needs() -> None:
    first = made("First", num=2, required=True)
    node = made("Node", command=["true"], after=first, overlap=True, enable=False, stop_timeout=3)
    plans = processes.plans(Catalog.collect({"shop": Plugin(processes=[first, node])}))
    assert plans == (
        ProcessPlan("shop.First", num=2, required=True),
        ProcessPlan(
            "shop.Node",
            after=("shop.First",),
            overlap=True,
            enable=False,
            stop_timeout=3.0,
            command=True,
        ),
    )
    assert plans[0].pool == "process.shop.First"


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(PluginError, match=r"both named shop\.Echo: give one of the"):
        problems(made("Echo"), made("Echo"))


def test_an_unknown_name_in_after_is_refused() -> None:
    assert problems(made("Echo", after=["shop.Nobody"])) == [
        "The class plugins.shop.Echo has after = 'shop.Nobody', which no plugin declares; there "
        "are shop.Echo."
    ]
    # One that is disabled is declared
    assert problems(made("First", enable=False), made("Echo", after=["shop.First"])) == []


def test_processes_that_wait_for_each_other_are_refused() -> None:
    (text,) = problems(
        made("A", after=["shop.B"]), made("B", after=["shop.C"]), made("C", after=["shop.A"])
    )
    assert text.startswith("Each of these processes has the next one in its `after`: shop.")
    (itself,) = problems(made("A", after=["shop.A"]))
    assert itself.endswith("shop.A → shop.A.")


def test_a_program_that_is_missing_or_not_executable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").touch()
    for program, why in (
        ("no-such-program", "There is no executable 'no-such-program' in PATH"),
        ("./missing", "There is no file './missing' to execute"),
        ("./plain", "'./plain' is not executable"),
        (str(tmp_path), "is not a file"),
    ):
        (text,) = problems(made("Node", command=[program, "x.js"]))
        assert text.startswith(f"The class plugins.shop.Node has command = ['{program}', 'x.js']: ")
        assert why in text
    Path("plain").chmod(0o700)
    assert problems(made("Node", command=["./plain"])) == []
    there = {"PATH": str(tmp_path)}
    assert problems(made("Node", command=["plain"], environment=there)) == []


def test_a_program_is_looked_for_only_where_it_runs() -> None:
    missing: dict[str, Any] = {"command": ["no-such-program"]}
    assert problems(made("Node", enable=False, **missing)) == []
    assert problems(made("Node", **missing), options=Options(kinds=("web", "task"))) == []


def test_a_user_has_to_exist_and_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = problems(made("Node", command=["true"], user="no-such-user"))
    assert text == (
        "The class plugins.shop.Node has user = 'no-such-user', and there is no such user on this "
        "machine."
    )
    assert problems(made("Node", command=["true"], user=getpass.getuser())) == []
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    (text,) = problems(made("Node", command=["true"], user="root"))
    assert text.endswith("has user = 'root', which only a platform that runs as root can become.")
