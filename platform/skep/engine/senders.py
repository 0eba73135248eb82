"""What delivered: which generation, and whether it is newer than that of a worker.

While one generation follows another, workers of both lease from the same queues. A worker cannot
represent what a newer generation delivered: it does not know a new field, a new listener, a
`finish` that was added, or another configuration. So it gives such a delivery back.
"""

# As much of the digest of the code as tells states of one project apart.
_CODE = 12


def sender_of(run_id: str, generation: int, code: str) -> str:
    """Return what the deliveries of a generation bear as their sender."""
    return f"{run_id}/{generation}/{code[:_CODE]}"


def is_newer(sender: str, own: str) -> bool:
    """Say whether a delivery comes from a newer generation of the same run of the platform."""
    if sender == own or not sender or not own:
        return False
    run, generation, _ = _parts(sender)
    own_run, own_generation, _ = _parts(own)
    return run == own_run and generation > own_generation


def described(sender: str) -> dict[str, str | int] | None:
    """Return a sender as it is shown to operators, None if it is not known."""
    if not sender:
        return None
    _, generation, code = _parts(sender)
    return {"generation": generation, "code": code}


def _parts(sender: str) -> tuple[str, int, str]:
    run, _, rest = sender.partition("/")
    generation, _, code = rest.partition("/")
    return run, int(generation) if generation.isdecimal() else 0, code
