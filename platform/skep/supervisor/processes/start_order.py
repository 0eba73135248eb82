"""The order in which custom processes go: which one still waits for others."""

from collections.abc import Mapping

from skep.supervisor.processes.slot import Slot, SlotState

# States of a worker that has accepted; one that is done or has failed had accepted before.
_ACCEPTED = frozenset({SlotState.READY, SlotState.DONE, SlotState.FAILED})


def has_to_wait(slot: Slot, slots: Mapping[str, Slot]) -> bool:
    """Return whether any slot that this one comes after has not accepted yet.

    A group without a slot, because it is disabled or left out on this machine, is not waited for.
    """
    return any(
        other.group in slot.terms.after and other.state not in _ACCEPTED for other in slots.values()
    )
