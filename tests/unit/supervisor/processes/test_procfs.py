import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from skep.supervisor.processes.procfs import (
    Cgroup,
    combine,
    parse_boot_time,
    parse_cgroup,
    parse_memory,
    parse_process,
    read_boot_time,
    read_children,
    read_oom_kills,
    read_process,
    read_system,
    tightest,
)

STAT = (
    "812 (web (0) @3) S 1 812 812 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 4200 "
    "104857600 5000 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"
)
GIGABYTE = 1 << 30


def test_a_process_is_read_though_its_name_has_blanks_and_parentheses() -> None:
    use = parse_process(STAT, fds=12, boot=1_000_000.0, ticks=100, page=4096)
    assert use.cpu == 3.0
    assert use.threads == 7
    assert use.started == 1_000_042.0
    assert (use.virtual, use.resident) == (104857600, 5000 * 4096)
    assert use.fds == 12


def test_the_time_of_boot_is_found_among_the_rest() -> None:
    assert parse_boot_time("cpu  1 2 3\nintr 5 0 0\nbtime 1700000000\n") == 1_700_000_000
    assert parse_boot_time("cpu  1 2 3\n") == 0


def test_memory_is_in_bytes() -> None:
    text = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    400 kB\n"
    assert parse_memory(text) == (400 * 1024, 1000 * 1024)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Cgroup()),
        ({"memory.max": "max\n", "cpu.max": "max 100000\n"}, Cgroup()),
        ({"cpu.max": "150000 100000\n"}, Cgroup(cores=1.5)),
        ({"memory.max": "1000\n", "memory.current": "900\n"}, Cgroup(1000, 100)),
        (
            {
                "memory.max": "1000",
                "memory.current": "900",
                "memory.stat": "anon 100\ninactive_file 300\n",
            },
            Cgroup(1000, 400),
        ),
        ({"memory.max": "1000", "memory.current": "1200"}, Cgroup(1000, 0)),
    ],
)
def test_a_cgroup_limits_memory_and_cores(files: dict[str, str], expected: Cgroup) -> None:
    assert parse_cgroup(files) == expected


def test_a_limit_set_further_up_binds_too() -> None:
    levels = [Cgroup(cores=3.0), Cgroup(limit=500, available=400), Cgroup(800, 10, 2.0)]
    assert tightest(levels) == Cgroup(500, 10, 2.0)


def test_what_is_left_is_the_least_of_machine_and_cgroup() -> None:
    load, memory = (0.1, 0.2, 0.3), (4 * GIGABYTE, 8 * GIGABYTE)
    use = combine(load, memory, 4, Cgroup(2 * GIGABYTE, GIGABYTE, 1.5))
    assert (use.available, use.limit, use.cores) == (GIGABYTE, 2 * GIGABYTE, 1.5)
    use = combine(load, memory, 4, Cgroup())
    assert (use.available, use.limit, use.cores) == (4 * GIGABYTE, 8 * GIGABYTE, 4.0)


def test_a_process_can_be_measured_until_it_is_gone() -> None:
    boot = read_boot_time()
    argv, pipe = [sys.executable, "-c", "print('up', flush=True); input()"], subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        use = read_process(child.pid, boot)
        assert use is not None
        assert use.threads == 1
        assert 0 < use.resident < use.virtual
        own = read_process(os.getpid(), boot)
        assert own is not None
        assert own.started <= use.started
        assert own.cpu > 0
        child.communicate(b"\n")
    assert read_process(child.pid, boot) is None


def test_the_machine_can_be_measured_inside_a_cgroup(tmp_path: Path) -> None:
    # Given a cgroup two levels deep, whose upper level is the tighter one
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    inner = root / "pods" / "skep"
    inner.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("1:cpu:/elsewhere\n0::/pods/skep\n")
    (proc / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 6000 kB\n")
    (root / "pods" / "memory.max").write_text("2048000\n")
    (root / "pods" / "memory.current").write_text("48000\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "cpu.max").write_text("50000 100000\n")
    # Then both levels count
    use = read_system(proc, root)
    assert use is not None
    assert (use.available, use.limit, use.cores) == (2_000_000, 2_048_000, 0.5)


def test_without_proc_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert read_system(tmp_path) is None
    assert read_boot_time(tmp_path) == 0
    assert read_process(1, 0, tmp_path) is None


def test_the_children_of_a_process_are_found_with_their_sessions() -> None:
    alone = subprocess.Popen(["sleep", "60"], start_new_session=True)
    beside = subprocess.Popen(["sleep", "60"])
    try:
        found = dict(read_children(os.getpid()))
        assert found[alone.pid] == alone.pid
        assert found[beside.pid] == os.getsid(0)
    finally:
        for process in (alone, beside):
            process.kill()
            process.wait()
    assert not {alone.pid, beside.pid} & dict(read_children(os.getpid())).keys()


def test_kills_for_want_of_memory_are_counted_in_our_own_cgroup(tmp_path: Path) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/app\n")
    (cgroup / "app").mkdir(parents=True)
    assert read_oom_kills(proc, cgroup) == 0
    (cgroup / "app" / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\n")
    assert read_oom_kills(proc, cgroup) == 3
    assert read_oom_kills(tmp_path / "nowhere", cgroup) == 0


def test_without_a_descriptor_there_are_no_children_to_be_seen() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        found = read_children(os.getpid())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == []
