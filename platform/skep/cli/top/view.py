"""What `platform top` shows, as a document made of two readings; no I/O, no clock."""

from collections.abc import Iterator, Mapping
from typing import Any

from skep.cli.top.rates import Rates
from skep.cli.top.reading import Labels, Reading

_ROLLOUTS = frozenset({"start", "reload", "config", "code", "certificate", "rollback"})
_SHOWN_ROLLOUTS = 3
# These starts of a worker replace none that ended by itself or was ended.
_NO_RESTART = frozenset({"boot", "reload", "scale"})
_STATUS = ("state", "reasons", "version", "pid", "run_id", "uptime", "generation", "on_probation")
_CONFIG = ("app_id", "cluster", "url", "source", "releases", "keys", "snapshot", "pinned")
# A process sends a beat every second; a blocked event loop sends none.
_LONGEST_WITHOUT_BEAT = 2.5
_GAUGES = {
    "ready": "tasks_queued",
    "scheduled": "tasks_scheduled",
    "running": "tasks_running",
    "dead": "task_dead_letters",
}


def view(earlier: Reading | None, later: Reading) -> dict[str, Any]:
    """Return the document of one frame; what requires two readings is None without `earlier`.

    Times are in seconds or Unix time, memory in bytes, rates per second, CPU in percent of a core.
    """
    rates = Rates(earlier, later)
    status = later.status
    return {
        "at": later.at,
        "seconds": rates.seconds,
        **{name: status[name] for name in _STATUS},
        "coming": status["coming"],
        "config": _config(status),
        "http": _http(later, rates),
        "host": _host(later),
        "restarts": _restarts(later),
        "queues": [_queue(name, later, rates) for name in _queues(later)],
        "rollouts": [one for one in later.operations if one["what"] in _ROLLOUTS][
            -_SHOWN_ROLLOUTS:
        ],
        "slots": list(_slots(later, rates)),
    }


def _config(status: Mapping[str, Any]) -> dict[str, Any]:
    config, refused = status["config"], status["refused"]
    return {
        **{name: config.get(name) for name in _CONFIG},
        "withheld": bool(config.get("withheld")),
        "last_error": config.get("last_error") or "",
        "refused": [problem["message"] for problem in refused["problems"]] if refused else [],
        "restart_required": status["restart_required"],
    }


def _http(later: Reading, rates: Rates) -> dict[str, Any]:
    latency = rates.latency("http_request_duration_seconds")
    serving = later.total("http_requests_in_progress") is not None
    nothing = 0.0 if serving and rates.seconds else None  # the counters begin with a request
    return {
        "requests": _known(rates.per_second("http_requests_total"), nothing),
        "errors": _known(rates.per_second("http_requests_total", _is_server_error), nothing),
        "mean": latency.mean,
        "p50": latency.p50,
        "p99": latency.p99,
        "in_progress": later.total("http_requests_in_progress"),
        "connections": later.total("http_connections"),
        "websockets": later.total("websocket_connections"),
    }


def _known(rate: float | None, otherwise: float | None) -> float | None:
    return otherwise if rate is None else rate


def _is_server_error(labels: Labels) -> bool:
    return labels.get("status", "").startswith("5")


def _host(later: Reading) -> dict[str, Any]:
    return {
        "load": [later.total(f"system_load{minutes}") for minutes in ("1", "5", "15")],
        "cores": later.total("system_cpu_cores"),
        "memory_available": later.total("system_memory_available_bytes"),
        "memory_limit": later.total("system_memory_limit_bytes"),
    }


def _restarts(later: Reading) -> dict[str, dict[str, int]]:
    """Return for each pool how many workers were replaced since the start, by reason."""
    found: dict[str, dict[str, int]] = {}
    for labels, value in later.series("worker_starts_total"):
        if value and labels["reason"] not in _NO_RESTART:
            found.setdefault(labels["pool"], {})[labels["reason"]] = int(value)
    return found


def _queues(later: Reading) -> list[str]:
    names = (labels["queue"] for gauge in _GAUGES.values() for labels, _ in later.series(gauge))
    return sorted(set(names))


def _queue(name: str, later: Reading, rates: Rates) -> dict[str, Any]:
    since = later.total("task_oldest_queued_timestamp_seconds", queue=name)
    nothing = 0.0 if rates.seconds else None
    return {
        "queue": name,
        **{key: int(later.total(gauge, queue=name) or 0) for key, gauge in _GAUGES.items()},
        "capacity": int(later.total("task_queue_capacity", queue=name) or 0),
        "oldest": max(0.0, later.at - since) if since else None,
        "done": _known(rates.per_second("tasks_total", _is_done, queue=name), nothing),
        "failed": _known(rates.per_second("tasks_total", _is_failed, queue=name), nothing),
    }


def _is_done(labels: Labels) -> bool:
    return labels["outcome"] == "success"


def _is_failed(labels: Labels) -> bool:
    return labels["outcome"] not in ("success", "cancelled")


def _slots(later: Reading, rates: Rates) -> Iterator[dict[str, Any]]:
    """Yield the supervisor, every slot with or without a process, and the other processes."""
    waiting = {process["pid"]: process for process in later.processes if process["pid"]}
    newest = _newest(later)
    if (supervisor := waiting.pop(later.status["pid"], None)) is not None:
        yield _process(supervisor, later, rates, True)
    for slot in later.status["slots"]:
        process = waiting.pop(slot["pid"], None)
        if process is None:
            process = {**dict.fromkeys(("rss", "cpu", "age")), **slot, "name": _name(slot)}
        speaks = newest.get(slot["slot"]) == slot["generation"]
        yield _process({**process, "state": slot["state"]}, later, rates, speaks) | {
            "crashes": slot["crashes"]
        }
    for process in waiting.values():
        yield _process(process, later, rates, False)


def _newest(later: Reading) -> dict[str, int]:
    """Return for each slot its newest generation with a process: the metrics of a slot are its."""
    found: dict[str, int] = {}
    for slot in later.status["slots"]:
        if slot["pid"]:
            found[slot["slot"]] = max(slot["generation"], found.get(slot["slot"], 0))
    return found


def _name(slot: Mapping[str, Any]) -> str:
    return f"{slot['slot']}@{slot['generation']}" if slot["generation"] else slot["slot"]


def _process(
    process: Mapping[str, Any], later: Reading, rates: Rates, speaks: bool
) -> dict[str, Any]:
    slot, pid = process["slot"], process["pid"]
    return {
        "name": process["name"],
        "slot": slot,
        "generation": process["generation"],
        "pid": pid,
        "state": process["state"],
        "cpu": rates.cpu_percent(pid) if pid else None,
        "rss": process["rss"] or None,  # 0 of a process that has just ended
        "age": process["age"],
        "requests": _requests(slot, later, rates) if speaks else None,
        "lag": _lag(slot, later) if speaks else None,
        "crashes": None,
    }


def _requests(slot: str, later: Reading, rates: Rates) -> float | None:
    if later.total("worker_requests_total", worker=slot) is None:
        return None
    return rates.per_second("worker_requests_total", worker=slot)


def _lag(slot: str, later: Reading) -> float | None:
    """Return how late the event loop of a slot is: what it reported, or the time since its last
    beat if it is blocked."""
    if slot == "supervisor":
        return later.total("supervisor_loop_lag_seconds")
    beat = later.total("worker_last_heartbeat_timestamp_seconds", worker=slot)
    if beat is not None and (silent := later.at - beat) > _LONGEST_WITHOUT_BEAT:
        return silent
    return later.total("worker_event_loop_lag_seconds", worker=slot)
