"""What the kernel says of a process and of the machine: the supervisor measures its workers
itself, also one that hangs.

The parsers are functions of text (proc(5), cgroups(7)); the readers below them open files. All
sizes are bytes, all times seconds. Where there is no /proc the readers return nothing.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses. `cpu` is what it has used since it began; `started` is Unix time."""

    resident: int
    virtual: int
    cpu: float
    fds: int
    threads: int
    started: float


@dataclass(frozen=True, slots=True)
class SystemUse:
    """What this container or machine has. `limit` is all its memory, `cores` may be a fraction."""

    load: tuple[float, float, float]
    available: int
    limit: int
    cores: float


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The limits that cgroup v2 sets on us, all levels up taken together; None means no limit."""

    limit: int | None = None
    available: int | None = None
    cores: float | None = None


def parse_process(
    stat: str, fds: int, boot: float, ticks: int = 100, page: int = 4096
) -> ProcessUse:
    """Read `/proc/PID/stat`. `ticks` are per second, `boot` is when the machine started."""
    # The second field is the program's name in parentheses and may hold blanks and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    user, system, threads = int(fields[11]), int(fields[12]), int(fields[17])
    began, virtual, pages = int(fields[19]), int(fields[20]), int(fields[21])
    return ProcessUse(
        resident=pages * page,
        virtual=virtual,
        cpu=(user + system) / ticks,
        fds=fds,
        threads=threads,
        started=boot + began / ticks,
    )


def parse_boot_time(stat: str) -> float:
    """Read the time of the machine's start from `/proc/stat`; 0 if it does not say."""
    return float(_table(stat).get("btime", "0"))


def parse_memory(meminfo: str) -> tuple[int, int]:
    """Read what is available, and what there is at all, from `/proc/meminfo`."""
    table = _table(meminfo.replace(":", " "))
    return int(table["MemAvailable"]) * 1024, int(table["MemTotal"]) * 1024


def parse_cgroup(files: Mapping[str, str]) -> Cgroup:
    """Read the files of one cgroup v2 folder, by their names; any may be missing.

    What can be taken back from the page cache (`inactive_file`) counts as available, as the kernel
    itself takes it back before it kills.
    """
    limit = available = cores = None
    if (text := files.get("memory.max", "max").strip()) != "max":
        limit = int(text)
        cache = int(_table(files.get("memory.stat", "")).get("inactive_file", "0"))
        used = int(files.get("memory.current", "0")) - cache
        available = max(0, limit - max(0, used))
    quota, _, period = files.get("cpu.max", "max").strip().partition(" ")
    if quota != "max":
        cores = int(quota) / int(period or "100000")
    return Cgroup(limit, available, cores)


def tightest(levels: list[Cgroup]) -> Cgroup:
    """Return what binds us: a limit may be set at any level above us."""
    return Cgroup(
        min((c.limit for c in levels if c.limit is not None), default=None),
        min((c.available for c in levels if c.available is not None), default=None),
        min((c.cores for c in levels if c.cores is not None), default=None),
    )


def combine(
    load: tuple[float, float, float], memory: tuple[int, int], cores: int, cgroup: Cgroup
) -> SystemUse:
    """Return what is left to us of the machine within our cgroup."""
    available, total = memory
    return SystemUse(
        load=load,
        available=available if cgroup.available is None else min(available, cgroup.available),
        limit=total if cgroup.limit is None else min(total, cgroup.limit),
        cores=float(cores) if cgroup.cores is None else min(float(cores), cgroup.cores),
    )


def read_boot_time(proc: Path = PROC) -> float:
    """Return when the machine started; it does not change. 0 where there is no /proc."""
    try:
        return parse_boot_time((proc / "stat").read_text())
    except OSError:
        return 0.0


def read_process(pid: int, boot: float, proc: Path = PROC) -> ProcessUse | None:
    """Return what the process uses; None if it is gone, or not ours to look at."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
        fds = len(os.listdir(proc / str(pid) / "fd"))
    except OSError:
        return None
    return parse_process(stat, fds, boot, os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE"))


def read_system(proc: Path = PROC, cgroup: Path = CGROUP) -> SystemUse | None:
    """Return what this container or machine has; None where there is no /proc."""
    try:
        memory = parse_memory((proc / "meminfo").read_text())
        levels = [parse_cgroup(_files(folder)) for folder in _cgroup_folders(proc, cgroup)]
    except OSError:
        return None
    return combine(os.getloadavg(), memory, len(os.sched_getaffinity(0)), tightest(levels))


def read_children(pid: int, proc: Path = PROC) -> list[tuple[int, int]]:
    """Return the children of a process, each with the session it is in; none without /proc, or
    without a descriptor to read it."""
    found = []
    try:
        tasks = list((proc / str(pid) / "task").glob("*/children"))
    except OSError:
        return []
    for task in tasks:
        for child in _read(task).split():
            if stat := _read(proc / child / "stat"):
                found.append((int(child), parse_session(stat)))
    return found


def parse_session(stat: str) -> int:
    """Read the session of a process from `/proc/PID/stat`."""
    return int(stat[stat.rindex(")") + 2 :].split()[3])


def read_oom_kills(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Return how many processes of this container the kernel has killed because memory ran out."""
    try:
        folders = list(_cgroup_folders(proc, cgroup))
    except OSError:
        return 0
    events = _read(folders[0] / "memory.events") if folders else ""
    return int(_table(events).get("oom_kill", "0"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _cgroup_folders(proc: Path, root: Path) -> Iterator[Path]:
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":
            folder = root / path.lstrip("/")
            yield from (f for f in (folder, *folder.parents) if f.is_relative_to(root))


def _files(folder: Path) -> dict[str, str]:
    names = ("memory.max", "memory.current", "memory.stat", "cpu.max")
    return {name: (folder / name).read_text() for name in names if (folder / name).exists()}


def _table(text: str) -> dict[str, str]:
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1}
