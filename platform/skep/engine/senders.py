"""Senders: the generation that delivered, and whether it is newer than a worker's.

While one generation follows another, workers of both lease from the same queues. A worker cannot
represent what a newer generation delivered: it does not know a new field, a new listener, a
`finish` that was added, or another configuration. So it gives such a delivery back.
"""

# Enough of the digest of the code to distinguish the states of one project.
_CODE = 12


def sender_of(run_id: str, generation: int, code: str) -> str:
    return f"{run_id}/{generation}/{code[:_CODE]}"


def is_newer(sender: str, own: str) -> bool:
    """Return whether a delivery comes from a newer generation of the same run."""
    if sender == own or not sender or not own:
        return False
    run, generation, _ = _parts(sender)
    own_run, own_generation, _ = _parts(own)
    return run == own_run and generation > own_generation


def described(sender: str) -> dict[str, str | int] | None:
    """Return a sender as operators see it, None if it is unknown."""
    if not sender:
        return None
    _, generation, code = _parts(sender)
    return {"generation": generation, "code": code}


def _parts(sender: str) -> tuple[str, int, str]:
    run, _, rest = sender.partition("/")
    generation, _, code = rest.partition("/")
    return run, int(generation) if generation.isdecimal() else 0, code
