"""The shapes of what verbs say with --json, and a way to hold a document against them."""

from typing import Any

Shape = dict[str, Any]
NUMBER, TEXT = (int, float), str
# The schema of `status --json`: a list holds the shape of each of its items.
SLOT: Shape = {"slot": TEXT, "generation": int, "state": TEXT, "pid": (int, type(None))}
STATUS: Shape = {
    "state": TEXT,
    "version": TEXT,
    "pid": int,
    "run_id": TEXT,
    "started": NUMBER,
    "uptime": NUMBER,
    "generation": int,
    "on_probation": bool,
    "coming": (TEXT, type(None)),
    "listeners": {"http": TEXT, "admin": TEXT, "config": TEXT},
    "plugins": [TEXT],
    "slots": [SLOT],
    "config": {"app_id": TEXT, "cluster": TEXT, "url": TEXT, "source": TEXT, "release_keys": {}},
    "last_rollout": {"outcome": TEXT, "generation": int, "cause": TEXT, "seconds": NUMBER},
    "refused": (dict, type(None)),
    "restart_required": [TEXT],
}
PHASE: Shape = {"name": TEXT, "seconds": NUMBER}
OPERATION: Shape = {
    "id": int,
    "what": TEXT,
    "requester": TEXT,
    "outcome": TEXT,
    "began": NUMBER,
    "seconds": NUMBER,
    "phases": [PHASE],
    "problems": [TEXT],
}
PROCESS: Shape = SLOT | {"name": TEXT, "kind": TEXT, "rss": int, "cpu": NUMBER, "age": NUMBER}


def fits(value: Any, shape: Any, where: str = "it") -> None:
    """Hold a document against a shape: what is named has to be there; more may be."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, inner in shape.items():
            assert key in value, f"{where} has no {key}"
            fits(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for item in value:
            fits(item, shape[0], f"an item of {where}")
    else:
        assert isinstance(value, shape), f"{where} is {value!r}"
