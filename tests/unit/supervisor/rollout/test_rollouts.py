"""How one generation follows another, with workers that the test moves."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skep.base.errors import ConfigError, ListenError
from skep.config.options.table import Options
from skep.config.snapshots.snapshot import Snapshot
from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.control.scaling import Scaling
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events
from skep.supervisor.processes.questions import Questions
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.processes.zygote import ZygotePair
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.machine import LOSSES, RolloutPhase
from skep.supervisor.rollout.probation import BEARABLE
from skep.supervisor.rollout.rollouts import Rollouts
from skep.wire.messages import (
    Accepting,
    Alone,
    Beat,
    Change,
    Changed,
    Drain,
    Failed,
    Go,
    HandedOver,
    Prepared,
    Retire,
)
from skep.wire.plan import Plan, Problem, ProcessPlan
from tests.unit.supervisor.fakes import (
    FakeChild,
    FakeZygote,
    LogLines,
    configuration,
    fake_loop,
    ignore,
    pass_time,
    run,
    worker,
)

PLAN = Plan(kinds=("web",), live=("SOFT",), fixed=("HARD",))
BOTH = Plan(kinds=("web", "cron"), fixed=("HARD",))
ONE = Options(web_workers=1, probation=30.0)
BROKEN = Problem("load", "it is broken")


@dataclass
class Disk(Configurations):
    """Stands for the configurations on the disk: `staged` ones by path, and what was `written`."""

    staged: dict[str, Configuration] = field(default_factory=dict)
    written: list[Configuration] = field(default_factory=list)
    files: Configuration = field(default_factory=configuration)
    error: Exception | None = None

    def load(self, path: str) -> Configuration:
        if path not in self.staged:
            raise ConfigError(f"{path} cannot be read.")
        return self.staged[path]

    def of(self, snapshot: Snapshot | None) -> Configuration:
        return self.files

    def commit(self, configuration: Configuration) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(configuration)

    def stage(self, configuration: Configuration) -> Path:
        return Path("/dev/null")

    def declare_secret(self, names: object) -> None:
        """Nothing is shown here."""


class Platform:
    """A rollouts of generations, and what the supervisor around it is called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = Disk()
        self.zygotes: list[FakeZygote] = []
        self.reports: list[tuple[RolloutRequest, Report]] = []
        self.calls: list[tuple[object, ...]] = []
        self.log = LogLines()
        self.binding: asyncio.Future[None] = fake_loop().create_future()
        self.binding.set_result(None)
        monkeypatch.setattr("skep.supervisor.rollout.rollouts.ZygotePair", self._zygote)
        platform: Any = SimpleNamespace(
            run_id="run",
            nursery=None,
            children=Children(Events(), ignore),
        )
        platform.questions = Questions(platform.children)
        fallback: Any = SimpleNamespace(
            held=lambda: self.calls.append(("held",)),
            unheld=lambda request, why: self.calls.append(("unheld", request, why)),
        )
        self.rollouts = Rollouts(self, Generations(), self.disk, platform, self, fallback)

    def put_back(self, request: RolloutRequest) -> None:
        self.calls.append(("put back", request))

    def reported(self, request: RolloutRequest, report: Report) -> None:
        self.reports.append((request, report))

    def give_up(self, why: str) -> None:
        self.calls.append(("hopeless", why))

    def part(self, former: Generation, then: Callable[[], None]) -> None:
        then()

    @property
    def notable(self) -> list[str]:
        """The log lines about what did not go as it should."""
        texts = ("both zygotes of generation", "not without new workers", "is rolled back")
        return [text for line in self.log.lines for text in texts if text in line]

    def _zygote(self, *arguments: Any) -> FakeZygote:
        self.zygotes.append(FakeZygote(*arguments))
        return self.zygotes[-1]

    async def bind(self, generation: Generation) -> None:
        """Bind nothing, as long as that takes."""
        await self.binding

    def go(self, crew: Crew, child: Child) -> None:
        child.send(Go([], self.rollouts.generations.handover(child)))

    @property
    def last(self) -> tuple[str, list[str]]:
        """The last outcome, with the messages of its problems."""
        _, report = self.reports[-1]
        return report.outcome, [problem.message for problem in report.problems]

    @property
    def current(self) -> Generation:
        """The generation in service."""
        assert self.rollouts.current is not None
        return self.rollouts.current

    @property
    def coming(self) -> Generation:
        """The generation that is to be."""
        assert self.rollouts.coming is not None
        return self.rollouts.coming.generation

    def new(self, slot: str = "web.0") -> FakeChild:
        """Return a worker of the generation that is coming."""
        return worker(self.coming.crew, slot)

    def ask(
        self,
        values: Mapping[str, str] | None = None,
        *,
        options: Options = ONE,
        release: str = "R-1",
        cause: Any = "config",
        **more: Any,
    ) -> Configuration:
        """Have a request carried out; return the configuration that it wants."""
        wanted = configuration(values, options, release=release)
        path = f"{release} {values}"
        self.disk.staged[path] = wanted
        self.rollouts.begin(RolloutRequest(cause, snapshot=path, **more))
        return wanted

    async def load(self, plan: Plan = PLAN) -> None:
        """The zygote of the generation that is coming has loaded everything."""
        self.zygotes[-1].loads(plan)
        await pass_time()

    async def commit(self, plan: Plan = PLAN) -> None:
        """All workers of the generation that is coming are prepared, and it is committed."""
        await self.load(plan)
        for child in list(self.coming.crew.children.values()):
            cast(FakeChild, child).says(Prepared())
        await pass_time()

    async def roll_out(
        self, values: Mapping[str, str] | None = None, plan: Plan = PLAN, **more: Any
    ) -> Configuration:
        """Bring a generation into service."""
        wanted = self.ask(values, **more)
        await self.commit(plan)
        for child in list(self.coming.crew.children.values()):
            cast(FakeChild, child).says(Accepting())
        await pass_time()
        assert self.rollouts.coming is None
        return wanted

    async def crash(self, crew: Crew, slot: str = "web.0", times: int = 1) -> None:
        """A worker is killed; as long as it is to crash again, its successor comes up."""
        for left in reversed(range(times)):
            worker(crew, slot).ends(SIGKILL)
            if left:
                await pass_time(1.0)
                crew.expire(fake_loop().now)
                worker(crew, slot).says(Prepared(), Accepting())


Test = Callable[[Platform], Any]


def on_a_platform(monkeypatch: pytest.MonkeyPatch, test: Test) -> None:
    async def main() -> None:
        await test(Platform(monkeypatch))

    run(main)


def test_a_generation_is_in_service_when_its_workers_accept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        wanted = platform.ask({"A": "1"}, cause="start")
        assert platform.zygotes[0].started
        await platform.load()
        assert (platform.disk.written, platform.rollouts.current) == ([], None)
        platform.new().says(Prepared())
        await pass_time()
        assert platform.disk.written == [wanted]
        assert any(isinstance(message, Go) for message in platform.new().sent)
        platform.new().says(Accepting())
        assert platform.current.configuration is wanted
        assert (platform.last, platform.current.number) == (("committed", []), 1)
        assert platform.rollouts.watch.on

    on_a_platform(monkeypatch, test)


def test_the_old_workers_go_when_the_new_ones_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        old = platform.current
        platform.ask({"HARD": "2"})
        await platform.commit()
        assert worker(old.crew, "web.0") in old.crew.accepting()
        platform.new().says(Accepting())
        assert isinstance(worker(old.crew, "web.0").sent[-1], Drain)
        assert platform.rollouts.generations.all == [old, platform.current]
        worker(old.crew, "web.0").ends(0)
        assert platform.rollouts.generations.all == [platform.current]
        # Its zygote lives: it may be put back
        assert not platform.zygotes[0].stopped
        for _ in range(2):
            await pass_time(15.0)
            worker(platform.current.crew, "web.0").says(Beat(0.0))
            platform.rollouts.expire(fake_loop().now)
        assert platform.zygotes[0].stopped
        assert platform.calls == [("held",)]

    on_a_platform(monkeypatch, test)


def test_a_configuration_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        platform.rollouts.begin(RolloutRequest("config", snapshot="nowhere", waiters=(7,)))
        assert platform.last == ("refused", ["nowhere cannot be read."])
        assert platform.reports[0][0].waiters == (7,)
        assert (platform.zygotes, platform.disk.written) == ([], [])

    on_a_platform(monkeypatch, test)


def test_what_was_refused_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"})
        platform.zygotes[-1].owner.denied(platform.zygotes[-1], (BROKEN,))
        assert platform.last == ("refused", ["it is broken"])
        assert platform.current.number == 1
        platform.ask({"HARD": "2"})
        assert (len(platform.zygotes), len(platform.reports)) == (2, 3)
        assert platform.last == ("refused", ["it is broken"])
        # Forced, or with something else, it is
        platform.ask({"HARD": "2"}, forced=True)
        assert len(platform.zygotes) == 3
        platform.zygotes[-1].owner.denied(platform.zygotes[-1], (BROKEN,))
        await platform.roll_out({"HARD": "3"})
        # And a generation that came up may have mended what was wrong
        platform.ask({"HARD": "2"})
        assert len(platform.zygotes) == 5

    on_a_platform(monkeypatch, test)


def test_problems_that_are_known_refuse_a_request_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "1"}, code="code-2", problems=(BROKEN,))
        assert platform.last == ("refused", ["it is broken"])
        platform.ask({"HARD": "1"}, code="code-2")
        assert platform.last == ("refused", ["it is broken"])
        assert len(platform.zygotes) == 1

    on_a_platform(monkeypatch, test)


def test_a_worker_that_is_lost_before_the_commit_refuses_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        first = await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"})
        await platform.load()
        lost = platform.new()
        lost.says(Failed(Problem("prepare", "its lifespan raised")))
        lost.ends(1)
        assert platform.last == ("refused", ["web.0@2: its lifespan raised"])
        assert platform.disk.written == [first]
        assert platform.zygotes[1].stopped
        assert platform.rollouts.generations.all == [platform.current]

    on_a_platform(monkeypatch, test)


def test_the_old_configuration_is_put_back_when_the_rollout_fails_after_the_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        first = await platform.roll_out({"HARD": "1"})
        second = platform.ask({"HARD": "2"})
        await platform.commit()
        assert platform.disk.written == [first, second]
        crew = platform.coming.crew
        for _ in range(LOSSES - 1):
            worker(crew, "web.0").ends(SIGKILL)
            await pass_time(1.0)
            crew.expire(fake_loop().now)
            worker(crew, "web.0").says(Prepared())
        assert platform.rollouts.coming is not None
        worker(crew, "web.0").ends(SIGKILL)
        assert platform.rollouts.busy
        await pass_time()
        assert platform.last == ("refused", ["web.0@2 killed by SIGKILL."])
        assert platform.disk.written == [first, second, first]
        assert (platform.current.number, platform.current.crew.not_ready()) == (1, [])

    on_a_platform(monkeypatch, test)


@pytest.mark.parametrize("error", [ConfigError("the disk is full"), OSError(5, "a fault")])
def test_a_rollout_is_reported_although_the_old_configuration_cannot_be_put_back(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """R3."""

    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"}, waiters=(7,))
        await platform.commit()
        platform.disk.error = error
        await pass_time(platform.coming.limits.go)
        platform.rollouts.expire(fake_loop().now)
        await pass_time()
        outcome, messages = platform.last
        assert (outcome, platform.reports[-1][0].waiters) == ("refused", (7,))
        assert messages == ["No web worker accepted within 5 s after the commit.", str(error)]

    on_a_platform(monkeypatch, test)


def test_the_same_values_under_another_release_key_are_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "1"})
        assert (platform.last, len(platform.disk.written)) == (("unchanged", []), 1)
        renamed = platform.ask({"HARD": "1"}, release="R-2")
        assert platform.rollouts.busy
        await pass_time()
        assert not platform.rollouts.busy
        assert (platform.last, platform.disk.written[-1]) == (("unchanged", []), renamed)
        assert platform.reports[-1][1].release_keys == (("application", "R-2"),)
        assert len(platform.zygotes) == 1

    on_a_platform(monkeypatch, test)


@pytest.mark.parametrize("error", [ConfigError("the disk is full"), OSError(5, "a fault")])
def test_another_release_key_that_cannot_be_written_down_is_reported(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """R3."""

    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.disk.error = error
        platform.ask({"HARD": "1"}, release="R-2")
        await pass_time()
        assert not platform.rollouts.busy
        assert platform.last == ("refused", [str(error)])
        assert platform.current.configuration.release_keys == {"application": "R-1"}

    on_a_platform(monkeypatch, test)


def test_a_newer_request_takes_the_place_of_one_that_is_not_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"}, waiters=(7,), reason="a release")
        await platform.load()
        overtaken = platform.new()
        assert not platform.rollouts.busy
        platform.ask({"HARD": "3"}, waiters=(8,))
        assert overtaken.killed
        assert (platform.coming.number, len(platform.reports)) == (3, 1)
        await platform.commit()
        assert platform.rollouts.busy  # too late for another
        platform.new().says(Accepting())
        assert platform.reports[-1][0].waiters == (7, 8)
        assert platform.current.configuration.environment == {"HARD": "3"}
        # What becomes of the one before is of no interest
        overtaken.ends(SIGKILL)
        assert platform.zygotes[1].stopped

    on_a_platform(monkeypatch, test)


def test_a_generation_that_does_not_hold_is_replaced_by_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        first = await platform.roll_out({"HARD": "1"})
        second = await platform.roll_out({"HARD": "2"})
        bad = platform.current
        await platform.crash(bad.crew, times=BEARABLE + 1)
        assert platform.notable == ["is rolled back"]
        # It is forked from the zygote that has the code of then
        assert (len(platform.zygotes), platform.coming.number) == (2, 3)
        assert platform.coming.zygote is cast(Any, platform.zygotes[0])
        await pass_time()
        platform.new().says(Prepared())
        await pass_time()
        assert platform.disk.written == [first, second, first]
        platform.new().says(Accepting())
        text = "Generation 2 was rolled back: its web workers ended 3 times."
        assert platform.last == ("rolled back", [text])
        changes = platform.reports[-1][0].changes
        assert [(change.key, change.old, change.new) for change in changes] == [("HARD", "2", "1")]
        assert not platform.zygotes[0].stopped
        # That one is not watched, and what did not hold stays refused
        assert not platform.rollouts.watch.on
        platform.ask({"HARD": "2"})
        assert platform.last == ("refused", [text])

    on_a_platform(monkeypatch, test)


def test_a_first_generation_that_does_not_hold_has_none_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, cause="start")
        await platform.crash(platform.current.crew, times=BEARABLE + 1)
        [(word, request, why)] = platform.calls
        assert (word, cast(RolloutRequest, request).cause) == ("unheld", "start")
        assert why == "its web workers ended 3 times"
        assert platform.rollouts.coming is None

    on_a_platform(monkeypatch, test)


def test_a_rollout_on_its_way_gives_way_to_a_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        await platform.roll_out({"HARD": "2"})
        platform.ask({"HARD": "3"})
        await platform.load()
        given_up = platform.new()
        await platform.crash(platform.current.crew, times=BEARABLE + 1)
        assert given_up.killed
        assert platform.coming.request.cause == "rollback"

    on_a_platform(monkeypatch, test)


def test_a_live_change_is_taken_by_those_who_live_and_those_who_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"SOFT": "1"})
        wanted = platform.ask({"SOFT": "2"}, options=Options(web_workers=2))
        assert platform.rollouts.busy
        await pass_time()
        for apply in (False, True):
            assert cast(Change, worker(platform.current.crew, "web.0").sent[-1]).apply is apply
            worker(platform.current.crew, "web.0").says(Changed(1 + apply, apply))
            await pass_time()
        assert platform.last == ("live", [])
        assert platform.reports[-1][1].written_at > 0
        assert platform.current.configuration is wanted
        assert platform.current.zygote.environment == {"SOFT": "2"}
        assert platform.rollouts.generations.options.web_workers == 2
        assert sorted(platform.current.crew.slots) == ["web.0", "web.1"]
        assert (len(platform.zygotes), platform.rollouts.busy) == (1, False)

    on_a_platform(monkeypatch, test)


def test_an_objection_to_a_live_change_takes_a_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"SOFT": "1"})
        wanted = platform.ask({"SOFT": "2"}, waiters=(7,))
        await pass_time()
        worker(platform.current.crew, "web.0").says(Changed(1, False, "not this one"))
        await pass_time()
        assert platform.notable == ["not without new workers"]
        assert platform.coming.configuration is wanted
        assert platform.coming.request.waiters == (7,)

    on_a_platform(monkeypatch, test)


def test_a_worker_that_ends_keeps_no_live_change_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"SOFT": "1"})
        wanted = platform.ask({"SOFT": "2"})
        await pass_time()
        worker(platform.current.crew, "web.0").ends(SIGKILL)
        await pass_time()
        assert platform.last == ("live", [])
        assert platform.current.configuration is wanted

    on_a_platform(monkeypatch, test)


def test_a_live_change_that_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"SOFT": "1"})
        platform.disk.error = OSError("the disk is full")
        platform.ask({"SOFT": "2"})
        await pass_time()
        worker(platform.current.crew, "web.0").says(Changed(1, False))
        await pass_time()
        assert platform.last == ("refused", ["the disk is full"])
        assert platform.current.configuration.environment == {"SOFT": "1"}

    on_a_platform(monkeypatch, test)


def test_what_a_change_would_do_can_be_asked_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        platform.disk.staged["soft"] = configuration({"SOFT": "2", "HARD": "1"}, ONE)
        platform.disk.staged["hard"] = configuration({"HARD": "2"}, ONE)
        soft, hard = (
            RolloutRequest("config", snapshot="soft"),
            RolloutRequest("config", snapshot="hard"),
        )
        assert platform.rollouts.plan("soft") == []
        assert not platform.rollouts.might_be_live(soft)  # there is nobody yet
        await platform.roll_out({"SOFT": "1", "HARD": "1"})
        [effect] = platform.rollouts.plan("soft")
        assert (effect.key, effect.action) == ("SOFT", "live")
        assert platform.rollouts.might_be_live(soft)
        assert not platform.rollouts.might_be_live(hard)
        assert not platform.rollouts.might_be_live(RolloutRequest("config", snapshot="nowhere"))
        assert not platform.rollouts.might_be_live(RolloutRequest("code", code="code-2"))

    on_a_platform(monkeypatch, test)


def test_a_request_without_a_snapshot_takes_the_files_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.disk.files = configuration({"HARD": "local"}, ONE)
        platform.rollouts.begin(RolloutRequest("cli"))
        assert platform.coming.configuration is platform.disk.files

    on_a_platform(monkeypatch, test)


def test_of_a_singleton_the_old_worker_has_handed_over_before_the_new_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, BOTH)
        old = worker(platform.current.crew, "cron.0")
        platform.ask({"HARD": "2"})
        await platform.commit(BOTH)
        platform.new("web.0").says(Accepting())
        new = platform.new("cron.0")
        assert isinstance(old.sent[-1], Drain)
        assert not any(isinstance(message, Go) for message in new.sent)
        assert platform.rollouts.coming is not None
        assert platform.rollouts.coming.rollout.phase is RolloutPhase.HANDING_OVER
        old.says(HandedOver({"due": 1}))
        assert new.sent[-1] == Go([], {"due": 1})
        assert platform.rollouts.coming is None
        # It is told when what still ran there has ended
        old.ends(0)
        assert new.sent[-1] == Alone()

    on_a_platform(monkeypatch, test)


def test_what_workers_say_reaches_whom_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        crew = platform.current.crew
        web = worker(crew, "web.0")
        web.says(Beat(0.0, unready="the database is away", trouble="serves without push"))
        assert crew.not_ready() == ["web.0: the database is away"]
        assert crew.troubles() == ["web.0: serves without push"]
        web.says(Beat(0.0))
        assert (crew.not_ready(), crew.troubles()) == ([], [])
        web.says(Retire("max_age"))
        assert sorted(crew.slots) == ["web.0", "web.1"]
        worker(crew, "web.1").says(Prepared(), Accepting())
        assert crew.slots["web.0"].state is SlotState.DRAINING

    on_a_platform(monkeypatch, test)


def test_a_platform_that_stops_gives_up_what_is_coming_and_drains_what_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"})
        await platform.load()
        new = platform.new()
        platform.rollouts.stop()
        assert new.killed
        old = worker(platform.current.crew, "web.0")
        assert isinstance(old.sent[-1], Drain)
        assert not platform.rollouts.watch.on
        old.ends(0)
        new.ends(SIGKILL)
        assert not platform.rollouts.generations.alive
        assert platform.zygotes[1].stopped

    on_a_platform(monkeypatch, test)


def test_a_generation_whose_zygotes_are_gone_for_good_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.rollouts.bereft(cast(ZygotePair, platform.zygotes[0]))
        platform.rollouts.denied(cast(ZygotePair, platform.zygotes[0]), (BROKEN,))
        assert platform.notable == ["both zygotes of generation"] * 2
        assert (platform.current.crew.not_ready(), len(platform.reports)) == ([], 1)

    on_a_platform(monkeypatch, test)


def test_a_kind_that_the_new_generation_does_not_have_ends_with_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, BOTH)
        old = platform.current
        await platform.roll_out({"HARD": "2"})
        assert isinstance(worker(old.crew, "cron.0").sent[-1], Drain)

    on_a_platform(monkeypatch, test)


def test_a_singleton_that_ends_without_handing_over_is_replaced_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        only = Plan(kinds=("cron",), fixed=("HARD",))
        platform.ask({"HARD": "1"})
        await platform.commit(only)
        old = platform.current
        platform.ask({"HARD": "2"})
        await platform.commit(only)
        worker(old.crew, "cron.0").ends(SIGKILL)
        assert platform.current.number == 2
        assert worker(platform.current.crew, "cron.0").sent[-2:] == [Go(), Alone()]
        # The former generation has no worker left, and can still be put back
        assert platform.rollouts.generations.all == [platform.current]
        assert not platform.zygotes[0].stopped

    on_a_platform(monkeypatch, test)


def test_a_worker_of_an_older_generation_hands_nothing_over_to_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, BOTH)
        oldest = worker(platform.current.crew, "cron.0")
        platform.ask({"HARD": "2"})
        await platform.commit(BOTH)
        platform.new("web.0").says(Accepting())
        oldest.says(HandedOver({"due": 1}))
        worker(platform.current.crew, "cron.0").says(Accepting())
        platform.ask({"HARD": "3"})
        await platform.commit(BOTH)
        platform.new("web.0").says(Accepting())
        # It drains still, while the newest waits for the one between
        oldest.says(HandedOver({"due": 1}))
        oldest.ends(0)
        assert platform.rollouts.coming is not None
        worker(platform.current.crew, "cron.0").says(HandedOver({"due": 2}))
        assert worker(platform.current.crew, "cron.0").sent[-1] == Go([], {"due": 2})
        assert platform.current.number == 3

    on_a_platform(monkeypatch, test)


def test_a_worker_that_is_lost_after_the_commit_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        platform.ask({"HARD": "1"})
        await platform.commit(BOTH)
        crew = platform.coming.crew
        lost = worker(crew, "cron.0")
        lost.ends(SIGKILL)
        await pass_time(1.0)
        crew.expire(fake_loop().now)
        assert worker(crew, "cron.0") is not lost
        platform.new("web.0").says(Accepting())
        worker(crew, "cron.0").says(Prepared())
        assert worker(crew, "cron.0").sent[-1] == Go()

    on_a_platform(monkeypatch, test)


def test_workers_of_a_refused_generation_finish_what_they_may_have_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        plan = Plan(kinds=("web", "task"), fixed=("HARD",))
        platform.ask({"HARD": "2"}, options=Options(web_workers=1, task_workers=1))
        await platform.commit(plan)
        generation = platform.coming
        web = platform.new("web.0")
        web.says(Accepting())
        await pass_time(generation.limits.go)
        platform.rollouts.expire(fake_loop().now)
        await pass_time()
        assert platform.last[1] == ["No task worker accepted within 5 s after the commit."]
        assert isinstance(web.sent[-1], Drain)
        assert not web.killed

    on_a_platform(monkeypatch, test)


def test_no_worker_is_forked_for_a_rollout_that_ended_while_its_ports_were_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        platform.binding = fake_loop().create_future()
        platform.ask({"HARD": "1"})
        await platform.load()
        generation = platform.coming
        await pass_time(generation.configuration.options.boot_timeout)
        platform.rollouts.expire(fake_loop().now)
        assert platform.last[0] == "refused"
        platform.binding.set_result(None)
        await pass_time()
        assert generation.crew.gone

    on_a_platform(monkeypatch, test)


def test_a_port_that_cannot_be_bound_refuses_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(platform: Platform) -> None:
        platform.binding = fake_loop().create_future()
        platform.binding.set_exception(ListenError("Port 80 is in use."))
        platform.ask({"HARD": "1"})
        await platform.load()
        assert platform.last == ("refused", ["Port 80 is in use."])

    on_a_platform(monkeypatch, test)


def test_what_a_refused_generation_lost_does_not_excuse_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"})
        await platform.commit()
        crew = platform.coming.crew
        for _ in range(LOSSES):
            worker(crew, "web.0").ends(SIGKILL)
            await pass_time(1.0)
            crew.expire(fake_loop().now)
            if platform.rollouts.coming is not None:
                worker(crew, "web.0").says(Prepared())
        assert platform.last[0] == "refused"
        await platform.roll_out({"HARD": "3"})
        await platform.crash(platform.current.crew, times=BEARABLE + 1)
        assert platform.notable == ["is rolled back"]

    on_a_platform(monkeypatch, test)


def test_a_worker_that_was_added_during_the_handover_goes_with_its_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, BOTH)
        old = platform.current
        platform.ask({"HARD": "2"})
        await platform.commit(BOTH)
        platform.new("web.0").says(Accepting())
        platform.rollouts.scaler.scale("web", 2)
        added = [
            slot for slot in old.crew.slots.values() if slot.kind == "web" and not slot.leaving
        ]
        assert added
        worker(old.crew, "cron.0").says(HandedOver({}))
        assert platform.current.number == 2
        assert all(isinstance(worker(old.crew, slot.name).sent[-1], Drain) for slot in added)

    on_a_platform(monkeypatch, test)


def test_a_number_that_is_set_by_hand_during_a_rollout_is_that_of_the_new_generation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        platform.ask({"HARD": "2"})
        await platform.commit()
        platform.rollouts.scaler.scale("web", 2)
        platform.new().says(Accepting())
        assert platform.current.number == 2
        assert sorted(platform.current.crew.slots) == ["web.0", "web.1"]

    on_a_platform(monkeypatch, test)


def test_a_generation_that_comes_into_service_drained_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"})
        old = platform.current
        platform.ask({"HARD": "2"})
        await platform.commit()
        scaling = Scaling(platform.rollouts, ignore)
        draining = asyncio.create_task(scaling.drain({}))
        await pass_time()
        assert isinstance(worker(old.crew, "web.0").sent[-1], Drain)
        worker(old.crew, "web.0").ends(0)
        await pass_time(0.01)
        assert not draining.done()  # another generation is on its way
        new = platform.new()
        new.says(Accepting())
        assert isinstance(new.sent[-1], Drain)
        await pass_time(0.01)
        assert not draining.done()  # this one has not ended yet
        new.ends(0)
        await pass_time(0.01)
        assert (await draining)["sentence"].startswith("Drained")
        undraining = asyncio.create_task(scaling.undrain({}))
        await pass_time()
        worker(platform.current.crew, "web.0").says(Prepared(), Accepting())
        await pass_time(0.01)
        assert (await undraining)["sentence"] == "In service again."

    on_a_platform(monkeypatch, test)


# -- custom processes ------------------------------------------------------------------------------

SLOT = "process.p.Echo.0"


def plan_of(*processes: ProcessPlan) -> Plan:
    return Plan(kinds=("web", "process"), fixed=("HARD",), processes=processes)


ECHO = plan_of(ProcessPlan("p.Echo"))


def has_gone(child: FakeChild) -> bool:
    return any(isinstance(message, Go) for message in child.sent)


def test_a_new_process_goes_when_the_old_one_has_ended_also_after_the_rollout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, ECHO)
        old = worker(platform.current.crew, SLOT)
        platform.ask({"HARD": "2"})
        await platform.commit(ECHO)
        platform.new("web.0").says(Accepting())
        new = platform.new(SLOT)
        assert old.sent[-1] == Drain(30.0, replaced=True)
        old.says(HandedOver({}))
        assert not has_gone(new)
        # The rollout does not wait for ever, and the old one is not cut
        await pass_time(2.0)
        platform.rollouts.expire(fake_loop().now)
        assert (platform.current.number, old.signals, has_gone(new)) == (2, [], False)
        assert platform.current.crew.not_ready() == []
        old.ends(0)
        assert has_gone(new)

    on_a_platform(monkeypatch, test)


def test_a_new_process_waits_for_those_of_all_generations_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, ECHO)
        oldest = worker(platform.current.crew, SLOT)
        for value in "23":
            platform.ask({"HARD": value})
            await platform.commit(ECHO)
            platform.new("web.0").says(Accepting())
            if value == "2":
                between = platform.new(SLOT)
            await pass_time(2.0)
            platform.rollouts.expire(fake_loop().now)
        assert platform.current.number == 3
        newest = worker(platform.current.crew, SLOT)
        between.ends(0)
        assert not has_gone(newest)
        oldest.ends(0)
        assert (has_gone(between), has_gone(newest)) == (False, True)

    on_a_platform(monkeypatch, test)


def test_processes_that_are_added_go_at_once_and_those_that_are_removed_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        three = plan_of(ProcessPlan("p.Echo", num=3), ProcessPlan("p.Gone"))
        await platform.roll_out({"HARD": "1"}, three)
        old = platform.current.crew
        platform.ask({"HARD": "2"})
        await platform.commit(plan_of(ProcessPlan("p.Echo"), ProcessPlan("p.New")))
        platform.new("web.0").says(Accepting())
        drains = {name: worker(old, name).sent[-1] for name in old.slots if name != "web.0"}
        removed = Drain(30.0, replaced=False)
        assert drains == {
            SLOT: Drain(30.0, replaced=True),
            "process.p.Echo.1": removed,
            "process.p.Echo.2": removed,
            "process.p.Gone.0": Go(),
        }
        assert has_gone(platform.new("process.p.New.0"))
        assert not has_gone(platform.new(SLOT))
        worker(old, SLOT).ends(0)
        assert platform.current.number == 2
        # What the old web worker finishes may need a process of the class that is gone
        gone = worker(old, "process.p.Gone.0")
        assert removed not in gone.sent
        worker(old, "web.0").ends(0)
        assert gone.sent[-1] == removed

    on_a_platform(monkeypatch, test)


def test_what_was_side_by_side_and_is_not_any_more_waits_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        await platform.roll_out({"HARD": "1"}, plan_of(ProcessPlan("p.Echo", overlap=True)))
        old = worker(platform.current.crew, SLOT)
        platform.ask({"HARD": "2"})
        await platform.commit(ECHO)
        platform.new("web.0").says(Accepting())
        new = platform.new(SLOT)
        assert not has_gone(new)
        old.ends(0)
        assert has_gone(new)

    on_a_platform(monkeypatch, test)


def test_a_process_that_crashes_does_not_fail_a_probation_and_a_required_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        for number, required in ((1, False), (2, True)):
            plan = plan_of(ProcessPlan("p.Echo", required=required))
            await platform.roll_out({"HARD": "1"}, plan)
            platform.ask({"HARD": f"x{number}"})
            await platform.commit(plan)
            platform.new("web.0").says(Accepting())
            if platform.rollouts.coming is not None:
                old = platform.rollouts.generations.current
                assert old is not None
                worker(old.crew, SLOT).ends(0)
            worker(platform.current.crew, SLOT).says(Accepting())
            bad = platform.current.number
            await platform.crash(platform.current.crew, SLOT, times=BEARABLE + 1)
            await pass_time()
            rolled_back = platform.rollouts.coming is not None
            assert rolled_back is required, bad
            assert platform.current.crew.not_ready() == ([SLOT] if required else [])

    on_a_platform(monkeypatch, test)


def test_a_required_process_that_is_not_started_again_fails_the_probation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(platform: Platform) -> None:
        plan = plan_of(ProcessPlan("p.Echo", required=True, restart="never", overlap=True))
        await platform.roll_out({"HARD": "1"}, plan)
        await platform.roll_out({"HARD": "2"}, plan)
        worker(platform.current.crew, SLOT).ends(256)
        assert platform.rollouts.coming is not None
        assert platform.coming.request.cause == "rollback"

    on_a_platform(monkeypatch, test)
