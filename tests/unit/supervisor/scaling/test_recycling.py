"""Who is replaced when, and how many workers there are, without a process."""

from skep.supervisor.processes.slot import Slot, SlotState
from skep.supervisor.scaling.recycling import Orders, Recycling, advance, asked, call_off, rescale


def slots(**states: SlotState) -> dict[str, Slot]:
    """Slots by name, `web_0` for web.0."""
    names = {name.replace("_", "."): state for name, state in states.items()}
    return {name: Slot(name, state=state, released=True) for name, state in names.items()}


def ready(kind: str, count: int) -> dict[str, Slot]:
    return {f"{kind}.{i}": Slot(f"{kind}.{i}", state=SlotState.READY) for i in range(count)}


def test_the_successor_comes_first_in_a_slot_of_its_own_and_then_the_old_one_retires() -> None:
    there = ready("web", 2)
    recycling, orders = advance(asked(Recycling(), "web.0"), there)
    assert orders == Orders(fill=("web.2",))
    # As long as it is not ready the old one stays
    there["web.2"] = Slot("web.2", state=SlotState.STARTING)
    recycling, orders = advance(recycling, there)
    assert orders == Orders()
    there["web.2"] = Slot("web.2", state=SlotState.READY)
    recycling, orders = advance(recycling, there)
    assert orders == Orders(retire=("web.0",))
    assert recycling == Recycling()
    # The next one takes the number that is free again, once the old worker has gone
    there["web.0"] = Slot("web.0", state=SlotState.DRAINING)
    assert advance(asked(recycling, "web.1"), there)[1] == Orders(fill=("web.3",))
    del there["web.0"]
    assert advance(asked(recycling, "web.1"), there)[1] == Orders(fill=("web.0",))


def test_no_more_than_a_quarter_of_a_kind_is_replaced_at_a_time_but_one_in_any_case() -> None:
    for count, at_once in ((1, 1), (3, 1), (7, 1), (8, 2), (20, 5)):
        recycling = Recycling()
        for number in range(count):
            recycling = asked(recycling, f"web.{number}")
        recycling, orders = advance(recycling, ready("web", count))
        assert len(orders.fill) == at_once
        assert len(recycling.waiting) == count - at_once
        # Asking again changes nothing
        assert asked(recycling, "web.0") == recycling


def test_the_kinds_do_not_wait_for_each_other() -> None:
    recycling = asked(asked(Recycling(), "web.0"), "task.0")
    _, orders = advance(recycling, ready("web", 2) | ready("task", 1))
    assert orders.fill == ("web.2", "task.1")


def test_one_that_crashes_while_it_waits_needs_no_successor() -> None:
    recycling = asked(Recycling(), "web.0")
    crashed = slots(web_0=SlotState.BACKOFF, web_1=SlotState.READY)
    assert advance(recycling, crashed) == (Recycling(), Orders())


def test_one_that_crashes_before_its_successor_is_ready_is_not_filled_again() -> None:
    recycling, _ = advance(asked(Recycling(), "web.0"), ready("web", 1))
    crashed = slots(web_0=SlotState.BACKOFF, web_1=SlotState.STARTING)
    assert advance(recycling, crashed) == (Recycling(), Orders(retire=("web.0",)))


def test_a_successor_that_crashes_leaves_the_old_one_serving_until_it_is_up() -> None:
    recycling, _ = advance(asked(Recycling(), "web.0"), ready("web", 1))
    there = slots(web_0=SlotState.READY, web_1=SlotState.BACKOFF)
    recycling, orders = advance(recycling, there)
    assert orders == Orders()
    there["web.1"] = Slot("web.1", state=SlotState.READY)
    assert advance(recycling, there)[1] == Orders(retire=("web.0",))


def test_what_is_called_off_leaves_the_old_ones_and_takes_their_successors_along() -> None:
    recycling = Recycling()
    for number in range(3):
        recycling = asked(recycling, f"task.{number}")
    recycling, _ = advance(asked(recycling, "web.0"), ready("task", 3) | ready("web", 1))
    after, orders = call_off(recycling, ["task.0", "task.1", "task.2"])
    assert orders == Orders(retire=("task.3",))
    # Nobody else's replacement is touched
    assert after == Recycling(successors={"web.0": "web.1"})


def test_scaling_fills_free_numbers_and_retires_the_newest() -> None:
    there = ready("web", 2) | ready("cron", 1)
    _, orders = rescale(Recycling(), there, {"web": 4, "cron": 1})
    assert orders == Orders(fill=("web.2", "web.3"))
    # web.2 is older than web.0, which took a number that was free
    there = {n: Slot(n, state=SlotState.READY) for n in ("web.1", "web.2", "web.0")}
    _, orders = rescale(Recycling(), there, {"web": 1})
    assert orders == Orders(retire=("web.2", "web.0"))


def test_scaling_counts_neither_those_that_leave_nor_successors() -> None:
    recycling, _ = advance(asked(Recycling(), "web.0"), ready("web", 2))
    there = ready("web", 2) | slots(web_2=SlotState.STARTING, web_3=SlotState.DRAINING)
    assert rescale(recycling, there, {"web": 2})[1] == Orders()
    after, orders = rescale(recycling, there, {"web": 0})
    assert orders == Orders(retire=("web.0", "web.1", "web.2"))
    assert after == Recycling()


def test_a_kind_that_is_not_wanted_any_more_goes_and_a_new_one_comes() -> None:
    _, orders = rescale(Recycling(), ready("web", 1), {"web": 1, "task": 2})
    assert orders == Orders(fill=("task.0", "task.1"))
    _, orders = rescale(Recycling(), ready("web", 1) | ready("task", 1), {"web": 1})
    assert orders == Orders(retire=("task.0",))
