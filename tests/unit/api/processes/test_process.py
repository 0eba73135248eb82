"""What a class of processes declares, and the sentence for what it may not declare."""

import asyncio
import types
from collections.abc import Callable
from typing import Any

import pytest

from skep.api.plugin import Plugin
from skep.api.processes.context import ProcessContext
from skep.api.processes.process import Process, problem_of
from skep.base.errors import DeclarationError


def declared(**options: Any) -> type[Process]:
    """Return a class with these options; mypy would refuse the bad ones."""

    async def run(self: Process, ctx: ProcessContext) -> None: ...

    return made("Echo", run=run, **options)


def program(**options: Any) -> type[Process]:
    return made("Node", **options)


def made(class_name: str, run: Any = None, **options: Any) -> type[Process]:
    body = {"__module__": __name__, **({"run": run} if run else {})}
    found: type[Process] = types.new_class(
        class_name, (Process,), options, lambda namespace: namespace.update(body)
    )
    return found


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"num": 0},
            "has num = 0, which must be a whole number from 1 to 256; enable=False",
        ),
        ({"num": True}, "has num = True, which must be a whole number"),
        ({"num": 257}, "has num = 257"),
        ({"num": 1.0}, "has num = 1.0"),
        ({"enable": 1}, "has enable = 1, which must be True or False"),
        ({"enable": "no"}, "has enable = 'no'"),
        ({"restart": "sometimes"}, "has restart = 'sometimes', which must be one of always, on_f"),
        ({"restart": ["always"]}, "has restart = ['always']"),
        ({"required": "yes"}, "has required = 'yes'"),
        ({"overlap": 0}, "has overlap = 0"),
        ({"after": [3]}, "has after = 3, which must be classes of processes, or their names"),
        ({"after": [dict]}, "has after = <class 'dict'>"),
        ({"after": ""}, "has after = ''"),
        (
            {"stop_timeout": 0},
            "has stop_timeout = 0, which must be seconds above 0 and at most",
        ),
        ({"stop_timeout": float("nan")}, "has stop_timeout = nan"),
        ({"stop_timeout": 10**400}, "has stop_timeout = 1000"),
        ({"nun": 2, "required": True}, "has options that no process has (nun): "),
        ({"stop_timeout": "10s"}, "has stop_timeout = '10s'"),
        ({"environment": {"A": "1"}}, "has environment, which goes with command only"),
        ({"user": "nobody"}, "has user, which goes with command only"),
        ({"command": ["true"]}, "has a method run and command: give one of them"),
    ],
)
def test_a_bad_value_is_named(options: dict[str, Any], text: str) -> None:
    assert problem_of(declared(**options)).startswith(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "has neither a method run nor command=[…]"),
        ({"command": []}, "has command = [], which must be a list of a program and its arguments"),
        ({"command": "node x.js"}, "has command = 'node x.js'"),
        ({"command": ["node", 1]}, "has command = ['node', 1]"),
        ({"command": ["", "x"]}, "has command = ['', 'x']"),
        ({"command": ["a\0b"]}, "has command = "),
        ({"command": ["node"], "environment": ["A"]}, "has environment that is a list; it"),
        ({"command": ["node"], "environment": {"A=B": "1"}}, "has environment with the key 'A=B'"),
        ({"command": ["node"], "user": ""}, "has user = ''"),
        ({"command": ["node"], "user": 0}, "has user = 0"),
    ],
)
def test_a_bad_command_is_named(options: dict[str, Any], text: str) -> None:
    assert problem_of(program(**options)).startswith(text)


def test_a_value_of_the_environment_is_not_shown_because_it_may_be_a_secret() -> None:
    secret = program(command=["node"], environment={"TOKEN": 4242})
    assert problem_of(secret) == (
        "has environment['TOKEN'] that is not a text; it must be a dict of texts, like "
        "{'NODE_ENV': 'production'}"
    )


def test_the_plugin_refuses_the_class_with_its_name() -> None:
    with pytest.raises(DeclarationError, match=r"processes\[0\], the class .*Echo, has num = 0"):
        Plugin(processes=[declared(num=0)])
    with pytest.raises(DeclarationError, match="processes takes a list of subclasses of Process"):
        Plugin(processes=[Process])
    made: Any = declared()()
    with pytest.raises(DeclarationError, match="processes takes a list of subclasses of Process"):
        Plugin(processes=[made])


def test_options_in_the_body_are_named_with_the_place_where_they_belong() -> None:
    class Echo(Process):
        num = 3

        async def run(self, ctx: ProcessContext) -> None: ...

    assert problem_of(Echo) == (
        "has num = 3 in its body; it is an option: class Echo(Process, num=3)"
    )


def with_methods(**methods: Callable[..., Any]) -> type[Process]:
    return type("Echo", (Process,), methods)


def test_methods_that_cannot_be_called_as_the_platform_does_are_refused() -> None:
    good: Any = lambda self, ctx: None  # noqa: E731
    assert problem_of(with_methods(run=good)) == ""
    assert "run that takes (), but it is called with (ctx)" in problem_of(
        with_methods(run=lambda self: None)
    )
    for hook in ("on_reload", "on_stop"):
        text = problem_of(with_methods(run=good, **{hook: lambda self: None}))
        assert f"has a method {hook} that takes ()" in text
    makes: Any = lambda self, port: None  # noqa: E731
    assert "cannot be made without arguments" in problem_of(with_methods(run=good, __init__=makes))


@pytest.mark.parametrize("name", ["send", "request", "stream", "send_sync"])
def test_a_method_that_hides_how_others_reach_it_is_refused(name: str) -> None:
    good: Any = lambda self, ctx: None  # noqa: E731
    hides: Any = lambda self, mail: None  # noqa: E731
    assert problem_of(with_methods(run=good, **{name: hides})).startswith(f"has its own {name},")
    fine: Any = classmethod(lambda cls, body: None)
    assert problem_of(with_methods(run=good, **{name: fine})) == ""


@pytest.mark.parametrize("name", ["../Echo", "", "E" * 300])
def test_a_name_that_cannot_be_in_names_of_files_is_refused(name: str) -> None:
    assert problem_of(made(name, run=lambda self, ctx: None)).startswith(
        f"has the name {name!r:.80}"
    )


def test_options_are_inherited_unless_they_are_given_again() -> None:
    class Base(Process, num=3, restart="never", stop_timeout=5):
        async def run(self, ctx: ProcessContext) -> None: ...

    class Echo(Base, num=1, after=Base):
        pass

    terms = Echo.terms
    assert (terms.num, terms.restart, terms.stop_timeout) == (1, "never", 5.0)
    assert terms.after == (Base.registered_name(),)
    assert (Base.terms.num, Base.terms.after) == (3, ())


def test_stopping_ends_the_waits_of_coroutines_and_of_threads() -> None:
    async def test() -> None:
        ctx = ProcessContext("process.p.Echo.2", 7)
        assert (ctx.index, ctx.generation, ctx.watches) == (2, 7, False)
        assert not ctx.stopping.is_set()
        assert ctx.watches
        assert not await ctx.stopping.wait(0.001)
        assert not ctx.stopping.wait_sync(0.001)
        in_thread = asyncio.create_task(asyncio.to_thread(ctx.stopping.wait_sync))
        in_loop = asyncio.create_task(ctx.stopping.wait())
        await asyncio.sleep(0)
        ctx.stop()
        assert await in_thread
        assert await in_loop
        assert ctx.stopping.wait_sync()

    asyncio.run(test())
