"""How many workers there are, which of them are replaced, and when it is hopeless."""

from signal import SIGKILL
from typing import Any

from skep.config.options.table import Options
from skep.supervisor.generation import Generation
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.events import Events, WorkerStarted
from skep.supervisor.processes.slot import SlotState
from skep.supervisor.scaling.scaler import Scaler
from skep.wire.messages import Drain, Retire
from skep.wire.plan import Plan, ProcessPlan
from tests.unit.supervisor.fakes import (
    LogLines,
    configuration,
    fake_loop,
    generation,
    pass_time,
    run,
    serve,
    worker,
)

PLAN = Plan(kinds=("web", "task", "cron"))
TWO = Options(web_workers=2, task_workers=1)


class House:
    """A generation in service and its scaler."""

    def __init__(
        self, *slots: str, plan: Plan = PLAN, options: Options = TWO, running: bool = True
    ) -> None:
        self.reasons: list[str] = []
        self.started: dict[str, str] = {}
        events = Events()
        events.subscribe(WorkerStarted, self._note)
        self.log = LogLines()
        settings = configuration({}, options)
        self.generation = generation(*slots, plan=plan, settings=settings, events=events)
        self.started.clear()
        self.current: Generation | None = self.generation if running else None
        self.scaler = Scaler(lambda: self.current, self.reasons.append)

    def _note(self, event: WorkerStarted) -> None:
        self.started[event.child.slot] = event.why

    @property
    def retiring(self) -> list[str]:
        """The slots whose worker was to be replaced, as the log says."""
        return [name.partition("@")[0] for name in self.log.first_words("retires")]

    @property
    def crew(self) -> Crew:
        """The crew of the generation."""
        return self.generation.crew

    @property
    def draining(self) -> list[str]:
        """The slots whose worker has been told to drain."""
        states = {name: slot.state for name, slot in self.crew.slots.items()}
        draining = [name for name, state in states.items() if state is SlotState.DRAINING]
        for name in draining:
            assert any(isinstance(sent, Drain) for sent in worker(self.crew, name).sent)
        return draining

    def crash(self, *slots: str) -> None:
        """The workers in these slots are killed."""
        for slot in slots:
            worker(self.crew, slot).ends(SIGKILL)

    def wear_out(self) -> float:
        """All web workers crash until their budget is spent; return since when it is."""
        while (spent := self.crew.budgets.get("web")) is None or spent.spent is None:
            self.crash(*(name for name in list(self.crew.children) if name.startswith("web.")))
            fake_loop().now += 1.0
            self.crew.expire(fake_loop().now)
        return spent.spent


def counts_of(*, options: Options, plan: Plan = PLAN) -> dict[str, int]:
    house = House(options=options, plan=plan)
    return house.scaler.counts(house.generation)


def test_the_counts_are_those_of_the_options_for_kinds_that_are_declared_and_run_here() -> None:
    async def test() -> None:
        queues = Options(web_workers=2, task_workers=3, queues=("media workers=4", "mail rate=1/s"))
        all_kinds = {"web": 2, "task": 3, "task.media": 4, "cron": 1}
        assert counts_of(options=queues) == all_kinds
        assert counts_of(options=queues, plan=Plan(kinds=("web",))) == {"web": 2}
        only = Options(web_workers=2, task_workers=3, kinds=("task", "cron"))
        assert counts_of(options=only) == {"task": 3, "cron": 1}

    run(test)


def test_a_generation_that_begins_has_a_slot_for_each() -> None:
    async def test() -> None:
        house = House()
        assert house.scaler.wanted(house.generation) == ("web.0", "web.1", "task.0", "cron.0")

    run(test)


def test_a_number_set_by_hand_is_reached_and_holds_through_rollouts() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0", "cron.0")
        house.scaler.scale("web", 3)
        assert house.started == {"web.2": "scale"}
        assert "web.2" in house.scaler.wanted(house.generation)
        # A reload with another log level says nothing of the number
        house.scaler.configured(TWO, Options(web_workers=2, task_workers=1, log_level="debug"))
        house.scaler.rescale()
        assert (house.scaler.counts(house.generation)["web"], house.draining) == (3, [])
        house.scaler.scale("web", 1)
        assert house.draining == ["web.1", "web.2"]

    run(test)


def test_a_new_number_in_the_configuration_is_newer_than_one_set_by_hand() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0", "cron.0")
        house.scaler.scale("web", 3)
        house.scaler.scale("task", 2)
        new = Options(web_workers=4, task_workers=1)
        house.scaler.configured(TWO, new)
        house.generation.configuration = configuration({}, new)
        counts = house.scaler.counts(house.generation)
        assert (counts["web"], counts["task"]) == (4, 2)

    run(test)


def test_nothing_is_filled_while_the_platform_is_drained_and_all_is_after_it() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0", "cron.0")
        house.scaler.drain()
        assert len(house.draining) == 4
        house.scaler.scale("web", 3)
        house.scaler.look(house.crew)
        assert house.started == {}
        house.crash(*house.crew.children)
        assert house.crew.gone
        house.scaler.undrain()
        assert sorted(house.started) == ["cron.0", "task.0", "web.0", "web.1", "web.2"]

    run(test)


def test_nothing_is_filled_once_the_platform_stops() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0", "cron.0")
        house.scaler.end()
        house.scaler.scale("web", 3)
        house.scaler.asked(house.crew.children["web.0"], Retire("max_age"))
        house.scaler.undrain()
        assert house.started == {}

    run(test)


def test_a_worker_that_asks_goes_when_its_successor_is_ready() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0", "cron.0")
        asking = worker(house.crew, "web.0")
        house.scaler.asked(asking, Retire("max_requests"))
        assert (house.retiring, house.started) == (["web.0"], {"web.2": "max_requests"})
        successor = house.crew.children["web.2"]
        assert house.scaler.is_successor(successor)
        assert not house.scaler.is_successor(asking)
        assert house.draining == []
        serve(house.crew, "web.2")
        house.scaler.look(house.crew)
        assert house.draining == ["web.0"]
        assert not house.scaler.is_successor(successor)

    run(test)


def test_a_reason_that_the_metrics_do_not_know_is_counted_as_age() -> None:
    async def test() -> None:
        house = House("web.0")
        house.scaler.asked(worker(house.crew, "web.0"), Retire("boredom"))
        assert house.started == {"web.1": "max_age"}

    run(test)


def test_a_worker_that_has_left_its_slot_is_not_replaced() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", "task.0")
        former = worker(house.crew, "web.0")
        house.crash("web.0")
        fake_loop().now += 1.0
        house.crew.expire(fake_loop().now)
        house.started.clear()
        house.scaler.asked(former, Retire("max_age"))
        house.current = None
        house.scaler.asked(worker(house.crew, "web.1"), Retire("max_age"))
        assert (house.retiring, house.started) == ([], {})

    run(test)


def test_a_replacement_that_is_called_off_leaves_the_old_worker() -> None:
    async def test() -> None:
        house = House("web.0", "task.0")
        old = [house.crew.children["task.0"]]
        house.scaler.replace(house.crew, old, Retire("reload"))
        assert (house.retiring, house.started) == (["task.0"], {"task.1": "reload"})
        other = generation("task.0", number=2).crew
        house.scaler.call_off(other, ["task.0"])
        assert house.draining == []
        house.scaler.call_off(house.crew, ["task.0"])
        assert house.draining == ["task.1"]

    run(test)


def test_of_a_generation_that_is_not_in_service_nobody_is_replaced() -> None:
    async def test() -> None:
        house = House("web.0", "task.0")
        house.scaler.asked(worker(house.crew, "web.0"), Retire("max_age"))
        house.current = generation("web.0", number=2, plan=PLAN)
        serve(house.crew, "web.1")
        house.scaler.look(house.crew)
        assert house.draining == []
        # And the new one begins without the replacements of the former
        house.scaler.look(house.current.crew)
        assert not house.scaler.is_successor(house.crew.children["web.1"])

    run(test)


def test_it_is_hopeless_when_no_web_worker_has_held_for_as_long_as_may_be() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", options=Options(web_workers=2, give_up=60.0))
        assert house.scaler.deadline is None
        spent = house.wear_out()
        assert house.scaler.deadline == spent + 60.0
        house.scaler.expire(spent + 59.9)
        assert house.reasons == []
        house.scaler.expire(spent + 60.0)
        assert len(house.reasons) == 1
        assert house.reasons[0].startswith("web in backoff")

    run(test)


def test_there_is_hope_as_long_as_a_web_worker_holds() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", options=Options(web_workers=2, give_up=60.0))
        spent = house.wear_out()
        await pass_time(40.0)
        house.crew.expire(fake_loop().now)
        serve(house.crew, "web.0")
        now = spent + 60.0
        fake_loop().now = now
        house.scaler.expire(now)
        assert house.reasons == []
        # It is looked at again before long, and not at once
        assert house.scaler.deadline == now + 5.0
        house.scaler.expire(now + 5.0)
        assert house.reasons == []
        # A kind whose worker has served begins again when that one ends
        house.crash("web.0")
        assert house.scaler.deadline is None

    run(test)


def test_a_worker_that_has_just_come_up_is_no_hope() -> None:
    async def test() -> None:
        house = House("web.0", "web.1", options=Options(web_workers=2, give_up=60.0))
        spent = house.wear_out()
        fake_loop().now = spent + 59.0
        house.crew.expire(fake_loop().now)
        serve(house.crew, "web.0")
        house.scaler.expire(spent + 60.0)
        assert len(house.reasons) == 1

    run(test)


def test_other_workers_that_hold_are_no_hope_without_web_workers() -> None:
    async def test() -> None:
        options = Options(web_workers=1, give_up=60.0)
        house = House("web.0", "task.0", options=options)
        spent = house.wear_out()
        house.scaler.expire(spent + 60.0)
        assert len(house.reasons) == 1

    run(test)


def test_a_platform_that_never_gives_up_has_no_deadline() -> None:
    async def test() -> None:
        house = House("web.0", options=Options(web_workers=1, give_up=0.0))
        spent = house.wear_out()
        assert house.scaler.deadline is None
        house.scaler.expire(spent + 10_000.0)
        house.current = None
        assert house.scaler.deadline is None
        house.scaler.expire(spent + 10_000.0)
        assert house.reasons == []

    run(test)


# -- custom processes ------------------------------------------------------------------------------

SLOT = "process.p.Echo.0"


def with_processes(*processes: ProcessPlan) -> Plan:
    return Plan(kinds=("web", "process"), processes=processes)


def test_there_are_as_many_processes_as_a_class_says_if_they_run_here() -> None:
    async def test() -> None:
        plan = with_processes(ProcessPlan("p.Echo", num=2), ProcessPlan("p.Off", enable=False))
        house = House(plan=plan)
        wanted = house.scaler.wanted(house.generation)
        assert wanted == ("web.0", "web.1", SLOT, "process.p.Echo.1")
        left_out = Options(web_workers=2, kinds=("web", "task", "cron"))
        assert counts_of(plan=plan, options=left_out) == {"web": 2}

    run(test)


def required(**more: Any) -> House:
    plan = with_processes(ProcessPlan("p.Echo", required=True, **more))
    house = House(plan=plan, options=Options(web_workers=1, give_up=60.0))
    house.generation.fill([SLOT], released=True)
    serve(house.crew, SLOT)
    return house


def test_a_required_process_that_keeps_crashing_is_given_up() -> None:
    async def test() -> None:
        house = required()
        while (budget := house.crew.budgets.get("process.p.Echo")) is None or not budget.spent:
            house.crash(SLOT)
            fake_loop().now = house.crew.slots[SLOT].deadline or 0.0
            house.crew.expire(fake_loop().now)
            serve(house.crew, SLOT)
        house.crash(SLOT)
        assert house.scaler.deadline == budget.spent + 60.0
        house.scaler.expire(budget.spent + 60.0)
        assert house.reasons[0].startswith("process.p.Echo in backoff")

    run(test)


def test_a_required_process_that_is_not_started_again_is_given_up_soon() -> None:
    async def test() -> None:
        house = required(restart="never")
        worker(house.crew, SLOT).ends(256)
        house.scaler.expire(fake_loop().now)
        assert house.reasons == []
        house.scaler.expire(fake_loop().now + 5.0)
        assert house.reasons == ["process.p.Echo is required and is not started again"]

    run(test)


def test_a_required_process_that_is_done_is_not_given_up() -> None:
    async def test() -> None:
        house = required(restart="on_failure")
        worker(house.crew, SLOT).ends(0)
        assert house.scaler.deadline is None

    run(test)


def test_a_process_that_asks_is_restarted_in_its_slot_and_the_timer_is_not() -> None:
    async def test() -> None:
        plan = Plan(kinds=("web", "cron", "process"), processes=(ProcessPlan("p.Echo"),))
        house = House("cron.0", plan=plan)
        house.generation.fill([SLOT], released=True)
        serve(house.crew, SLOT)
        for slot in (SLOT, "cron.0"):
            house.scaler.asked(worker(house.crew, slot), Retire("max_memory"))
        assert house.draining == [SLOT]
        worker(house.crew, SLOT).ends(0)
        house.crew.expire(fake_loop().now)
        assert house.started == {SLOT: "restart"}

    run(test)
