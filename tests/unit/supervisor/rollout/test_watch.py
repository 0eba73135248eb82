"""The watch over the generation in service, by a clock of the test's own."""

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skep.supervisor.generation import Generation
from skep.supervisor.processes.slot import Slot
from skep.supervisor.rollout.probation import BEARABLE, UNREADY, Watch
from tests.unit.supervisor.fakes import FakeZygote, child, fake_loop, generation, pass_time, run


class Bench:
    """A watch, what it has said, and the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.said = 1000.0, list[str]()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        self.watch = Watch(lambda: self.said.append("passed"), self.said.append)

    def generation(self, ready: Mapping[str, bool] | None = None) -> Any:
        """Return a generation of two web workers."""
        crew = SimpleNamespace(
            slots={name: Slot(name) for name in ("web.0", "web.1")},
            readiness=lambda: ready if ready is not None else {"web": True},
        )
        options = SimpleNamespace(probation=30.0)
        return SimpleNamespace(
            crew=crew,
            configuration=SimpleNamespace(options=options),
            zygote=SimpleNamespace(stop=lambda: None),
        )

    def crash(self, generation: Any, seconds: float = 0.0) -> None:
        """One of its web workers ends, so many seconds later."""
        self.now += seconds
        self.watch.ended(generation, SimpleNamespace(dismissed=False, slot="web.0"))  # type: ignore[arg-type]
        self.watch.look()

    def wait(self, seconds: float) -> list[str]:
        """Look after so many seconds; return what was said so far."""
        self.now += seconds
        self.watch.look()
        return self.said


def on_a_bench(monkeypatch: pytest.MonkeyPatch, test: Callable[[Bench], None]) -> None:
    async def run() -> None:
        test(Bench(monkeypatch))

    asyncio.run(run())


def test_a_generation_whose_workers_crash_after_20_s_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D10: each crash prolongs the watch, so the second round of them is seen."""

    def test(bench: Bench) -> None:
        former, new = bench.generation(), bench.generation()
        bench.watch.begin(new, former)
        for _ in range(2):
            bench.crash(new, 20.0)
            bench.crash(new)
        assert bench.said == ["its web workers ended 3 times"]
        assert not bench.watch.on

    on_a_bench(monkeypatch, test)


def test_what_the_generation_before_did_as_often_is_borne(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D10: crashes are judged against the generation before."""

    def test(bench: Bench) -> None:
        old, new = bench.generation(), bench.generation()
        bench.watch.begin(old, None)
        assert bench.wait(31.0) == ["passed"]
        for _ in range(6):  # long after its probation
            bench.crash(old, 4.0)
        bench.watch.begin(new, old)
        for _ in range(6):
            bench.crash(new, 4.0)
        assert bench.said == ["passed"]
        # And those of the rolled back one are not held against the next
        for _ in range(BEARABLE + 1):
            bench.crash(new)
        assert bench.said == ["passed", "its web workers ended 9 times"]
        assert bench.watch.release() is old
        again = bench.generation()
        bench.watch.begin(again, old)
        for _ in range(BEARABLE + 1):
            bench.crash(again, 1.0)
        assert bench.said[-1] == "its web workers ended 3 times"

    on_a_bench(monkeypatch, test)


def test_a_kind_that_was_unready_before_may_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """D10: what keeps both generations from being ready is not the new one's fault."""

    def test(bench: Bench) -> None:
        new = bench.generation(ready={"web": False})
        bench.watch.begin(new, bench.generation(), frozenset({"web"}))
        assert bench.wait(UNREADY + 1) == []
        assert bench.wait(30.0) == ["passed"]
        bench.watch.begin(new, bench.generation())
        bench.wait(0.0)
        assert "no web worker was ready" in bench.wait(UNREADY)[-1]

    on_a_bench(monkeypatch, test)


class Post:
    """A watch over a generation that has followed another."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watch = Watch(lambda: self.said.append("passed"), self.said.append)
        self.former, self.new = generation("web.0", number=1), generation("web.0", number=2)
        self.watch.begin(self.new, self.former)

    @property
    def keeps_the_former(self) -> bool:
        """Whether the generation before could be put back."""
        return not cast(FakeZygote, self.former.zygote).stopped

    def lose(self, of: Generation, times: int, *, dismissed: bool = False) -> None:
        """A worker of a generation ends so many times."""
        for _ in range(times):
            gone = child("web.0", of.number)
            gone.dismissed = dismissed
            self.watch.ended(of, gone)
            self.watch.look()


def test_a_worker_that_was_told_to_go_is_no_crash() -> None:
    async def test() -> None:
        post = Post()
        post.lose(post.new, 10, dismissed=True)
        assert (post.said, post.watch.on) == ([], True)
        post.lose(post.new, BEARABLE + 1)
        assert post.said == ["its web workers ended 3 times"]

    run(test)


def test_what_other_generations_do_is_not_held_against_the_one_that_is_watched() -> None:
    async def test() -> None:
        post = Post()
        post.lose(post.former, 10)
        assert (post.said, post.watch.on) == ([], True)

    run(test)


def test_the_zygote_of_the_former_generation_lives_until_the_watch_has_ended() -> None:
    async def test() -> None:
        post = Post()
        assert post.watch.deadline == fake_loop().now + 30.0
        await pass_time(29.0)
        post.watch.look()
        assert post.keeps_the_former
        await pass_time(1.0)
        post.watch.look()
        assert (post.said, post.keeps_the_former, post.watch.former) == (["passed"], False, None)
        assert post.watch.deadline is None

    run(test)


def test_a_generation_that_is_followed_by_another_is_not_watched_any_more() -> None:
    async def test() -> None:
        post = Post()
        post.watch.begin(generation("web.0", number=3), post.new)
        assert (post.said, post.keeps_the_former, post.watch.former) == ([], False, post.new)
        post.lose(post.new, 10)
        assert post.said == []

    run(test)


def test_a_former_generation_that_is_put_back_keeps_its_zygote_and_is_not_watched() -> None:
    async def test() -> None:
        post = Post()
        assert post.watch.release() is post.former
        assert (post.keeps_the_former, post.watch.former, post.watch.on) == (True, None, False)
        post.watch.end()
        assert post.keeps_the_former
        assert post.watch.release() is None

    run(test)
