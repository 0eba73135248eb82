"""Who may do what, and what nobody gets to see."""

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.faulty import TinyApollo
from tests.inotify import Watched
from tests.platform_process import ROOT, Platform, read_proc
from tests.support import wait_until

SECRET = "hunter2-and-more"
LEAKY = """
import os
from skep import Plugin
from starlette.routing import Route

async def leak(request):
    raise RuntimeError("password=" + os.environ["DB_PASSWORD"])

plugin = Plugin(routes=[Route("/leak", leak)])
"""
NOBODY = 65534


def test_the_control_socket_is_open_to_nobody_else_at_any_moment(sampled: Platform) -> None:
    """Lifecycle, case 42."""
    # Given somebody whose files are open to all unless he says otherwise
    old = os.umask(0)
    seen: set[tuple[str, int]] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for name in (".", "control.sock", "store.sock"):
                try:
                    mode = (sampled.data_dir / name).stat().st_mode
                except FileNotFoundError:
                    continue
                seen.add((name, stat.S_IMODE(mode)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sampled.start()
    finally:
        os.umask(old)
        over.set()
        watcher.join()
    modes = {(".", 0o700), ("control.sock", 0o600), ("store.sock", 0o600)}
    assert seen == modes
    # The sockets had these modes from their first moment: they were made, and never changed
    with Watched(sampled.data_dir) as watched:
        assert sampled.cli("restart").returncode == 0
        events = [event for event in watched.events() if event[0].endswith(".sock")]
    assert sorted(events) == [("control.sock", "created"), ("store.sock", "created")]
    for name, mode in modes:
        assert stat.S_IMODE((sampled.data_dir / name).stat().st_mode) == mode


def test_nonsense_and_silence_on_the_control_socket_delay_nobody(sampled: Platform) -> None:
    """Lifecycle, case 42."""
    sampled.environment["PLATFORM_HANG_TIMEOUT"] = "3"
    sampled.start()
    pids = sampled.pids()
    clients = []
    for noise in [b"", b"x" * 1_000_000, b'{"cmd": "status"', b'{"cmd": "metrics"}\n' * 50] * 3:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(0.2)
        client.connect(str(sampled.data_dir / "control.sock"))
        clients.append(client)
        try:
            client.sendall(noise)
        except OSError:
            continue
    # Longer than a worker may be silent, everybody is heard and answered
    end = time.monotonic() + 4
    wait_until(lambda: sampled.get() and time.monotonic() > end)
    assert httpx.get(f"{sampled.admin}/readyz").json()["ready"] is True
    assert sampled.pids() == pids
    assert "does not answer" not in sampled.output()
    assert sampled.cli("reload").returncode == 0
    for client in clients:
        client.close()
    assert set(sampled.pids()) >= {name.replace("@1", "@2") for name in pids}
    # What changed something was written down with who did it, and for nobody else to read
    audit = sampled.data_dir / "audit.jsonl"
    assert f'"uid": {os.getuid()}' in audit.read_text()
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_somebody_has_opened_the_door() -> None:
    """Lifecycle, case 42."""
    # Not in tmp_path, which is closed to other users above
    with tempfile.TemporaryDirectory() as place:
        platform = Platform(Path(place))
        platform.plugins.joinpath("leaky.py").write_text(LEAKY)
        try:
            platform.start()
            for path, mode in ((place, 0o755), (platform.data_dir, 0o755)):
                os.chmod(path, mode)
            (platform.data_dir / "control.sock").chmod(0o666)
            code = (
                "import os, socket, sys\n"
                f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
                "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])\n"
                'sock.sendall(b\'{"cmd": "stop"}\\n\'); print(sock.makefile().readline())'
            )
            path = str(platform.data_dir / "control.sock")
            command = [sys.executable, "-P", "-c", code, path]
            done = subprocess.run(command, capture_output=True, text=True)
            assert json.loads(done.stdout)["code"] == "permission", done.stderr
            wait_until(lambda: f"uid {NOBODY} (pid " in platform.output())
            assert platform.status()["state"] == "running"
        finally:
            platform.stop()


def test_secrets_are_nowhere_to_be_read(sampled: Platform) -> None:
    """Lifecycle, case 43."""
    sampled.publish_sample(f"DB_PASSWORD = {SECRET}\nGREETING = hi\n")
    (sampled.plugins / "leaky.py").write_text(LEAKY)
    sampled.start("--log-level", "debug")
    assert httpx.get(f"{sampled.url}/leak").status_code == 500
    wait_until(lambda: "RuntimeError" in sampled.output())
    sampled.publish(f"DB_PASSWORD={SECRET}-2")
    wait_until(lambda: sampled.status()["generation"] == 2)
    assert httpx.get(f"{sampled.url}/leak").status_code == 500
    shown = [sampled.output(), sampled.metrics()]
    for verb in ("status", "ps", "info", "history"):
        shown.append(sampled.cli(verb, "--json").stdout)
    shown += sampled.command_lines()
    for name in ("audit.jsonl", "operations.jsonl"):
        path = sampled.data_dir / name
        shown.append(path.read_text() if path.exists() else "")
    assert [text for text in shown if SECRET in text] == []
    # What has to hold them is for us alone
    holding = [p for p in sampled.data_dir.rglob("*") if p.is_file()] + [sampled.env_file]
    modes = {str(p): stat.S_IMODE(p.stat().st_mode) for p in holding if _holds(p, SECRET)}
    assert str(sampled.env_file) in modes
    for holder, mode in modes.items():
        assert mode == 0o600 or Path(holder).is_relative_to(sampled.data_dir), holder
    assert stat.S_IMODE(sampled.data_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("how", ["password", "access key"])
def test_the_credentials_of_the_config_service_are_the_agent_s_alone(
    platform: Platform, how: str
) -> None:
    """Lifecycle, case 43."""
    shutil.copytree(ROOT / "plugins" / "hello", platform.plugins / "hello")
    platform.tell_environments()
    with TinyApollo() as server:
        server.publish(GREETING="hi", DB_PASSWORD=SECRET)
        platform.environment |= {
            "PLATFORM_APP_ID": "shop",
            "PLATFORM_CONFIG_SERVER": server.url,
            **(
                {"APOLLO_ACCESS_KEY_SECRET": "hon3y-key"}
                if how == "access key"
                else {"PLATFORM_CONFIG_SERVER": server.url.replace("//", "//bee:hon3y-word@")}
            ),
        }
        platform.start("--log-level", "debug")
        assert platform.get()["greeting"] == "hi"
        # A crash that writes down where it was, a rollout, and everything that shows something
        os.kill(platform.pids("web.")["web.0@1"], signal.SIGABRT)
        wait_until(lambda: " was at\n" in platform.output())
        server.publish(GREETING="hello", DB_PASSWORD=SECRET)
        wait_until(lambda: platform.get()["greeting"] == "hello")
        told = [platform.output(), platform.metrics()]
        for verb in (
            *("status --json", "ps --json", "info --json", "history --json", "dump web.0"),
            *("config status --json", "config diff", "config plan", "config history --json"),
            *("config explain APOLLO_ACCESS_KEY_SECRET", "config explain PLATFORM_CONFIG_SERVER"),
            *("config explain DB_PASSWORD", "env export --format json"),
        ):
            done = platform.cli(*verb.split())
            told.append(done.stdout if verb.startswith("env") else done.stdout + done.stderr)
        pids = {row["name"]: row["pid"] for row in json.loads(platform.cli("ps", "--json").stdout)}
        told += platform.command_lines()
        assert [text for text in told if "hon3y" in text] == []
        # Plugins have their own secrets and no others, and nobody else sees these
        own = platform.environ(pids["web.0@2"])
        assert own["DB_PASSWORD"] == SECRET
        assert "hon3y" not in json.dumps(own)
        born_with = {name: read_proc(pid, "environ") for name, pid in pids.items()}
        assert {n for n in pids if "hon3y" in born_with[n]} == {"supervisor", "agent.0"}
        assert not [name for name in pids if SECRET in born_with[name]]
        for holder in (platform.env_file, *(platform.data_dir / "config").rglob("*.json")):
            assert stat.S_IMODE(holder.stat().st_mode) == 0o600, holder


def test_counters_never_go_back_over_reloads(sampled: Platform) -> None:
    """Lifecycle, case 45."""
    sampled.start()
    before: dict[str, float] = {}
    for number in range(3):
        for _ in range(5):
            sampled.get()
        if number:
            assert sampled.cli("reload").returncode == 0
        now = sampled.counters()
        assert [name for name, value in before.items() if now.get(name, 0) < value] == []
        before = now
    requests = [v for name, v in before.items() if name.startswith("platform_http_requests_total")]
    assert sum(requests) >= 15
    assert before['platform_worker_starts_total{pool="web",reason="reload"}'] == 4


def test_a_user_who_does_not_exist_is_exit_8_and_is_named(sampled: Platform) -> None:
    done = sampled.cli("start", "--user", "no-such-bee", "--port", "0", "--admin-port", "0")
    assert done.returncode == 8
    assert "no-such-bee" in done.stderr
    assert sampled.tree() == []


def _holds(path: Path, text: str) -> bool:
    """Return whether a text is in a file; of a table's 4 GiB, nearly all is a hole."""
    with path.open("rb") as file:
        begin = 0
        while True:
            try:
                begin = os.lseek(file.fileno(), begin, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data from there on
                    return False
                raise
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            if text.encode() in os.pread(file.fileno(), end - begin, begin):
                return True
            begin = end
