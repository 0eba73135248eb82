"""Which custom process still waits for others."""

from skep.supervisor.processes.slot import Slot, SlotState, SlotTerms
from skep.supervisor.processes.start_order import has_to_wait

SECOND = Slot("process.p.Second.0", terms=SlotTerms(after=("process.p.First",)))


def first(*states: SlotState) -> dict[str, Slot]:
    return {
        f"process.p.First.{i}": Slot(f"process.p.First.{i}", state=s) for i, s in enumerate(states)
    }


def test_it_waits_until_every_slot_of_those_before_it_has_accepted() -> None:
    for state in SlotState:
        accepted = state in (SlotState.READY, SlotState.DONE, SlotState.FAILED)
        assert has_to_wait(SECOND, first(SlotState.READY, state)) is not accepted


def test_it_does_not_wait_for_what_is_not_there_nor_for_others() -> None:
    assert not has_to_wait(SECOND, {})
    other = Slot("process.p.Third.0", state=SlotState.STARTING)
    assert not has_to_wait(SECOND, {other.name: other})
