"""Loading plugins. A loader is for a fresh interpreter, so every test has one of its own."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

LOAD = """
import json, sys
from pathlib import Path
from skep.worker.loading.loader import Loader
loaded = Loader([Path(folder) for folder in sys.argv[1:]]).load()
print(json.dumps({
    "plugins": sorted(loaded.plugins),
    "problems": [vars(problem) for problem in loaded.problems],
    "unforkable": loaded.unforkable,
}))
"""
GOOD = "from skep import Plugin\nplugin = Plugin()\n"


def load(*folders: Path) -> dict[str, Any]:
    command = [sys.executable, "-P", "-c", LOAD, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_files_and_packages_are_plugins_and_hidden_or_private_ones_are_not(tmp_path: Path) -> None:
    for name in ("one.py", "two/__init__.py", "_private.py", ".hidden.py", "notes.txt"):
        write(tmp_path / name, GOOD)
    (tmp_path / "empty").mkdir()
    assert load(tmp_path)["plugins"] == ["one", "two"]


def test_a_plugin_may_bear_the_name_of_a_standard_module_and_import_that_module(
    tmp_path: Path,
) -> None:
    write(tmp_path / "queue.py", "import queue\nqueue.Queue()\n" + GOOD)
    write(tmp_path / "platform/__init__.py", "import platform\nplatform.machine()\n" + GOOD)
    assert load(tmp_path) == {"plugins": ["platform", "queue"], "problems": [], "unforkable": ""}


def test_a_package_imports_its_own_modules_by_their_full_name(tmp_path: Path) -> None:
    write(tmp_path / "shop/__init__.py", "from plugins.shop.parts import value\n" + GOOD)
    write(tmp_path / "shop/parts.py", "value = 1\n")
    assert load(tmp_path)["plugins"] == ["shop"]


def test_what_a_plugin_forks_while_it_is_imported_does_not_go_on_in_its_place(
    tmp_path: Path,
) -> None:
    fork = "import os\nif (child := os.fork()):\n    os.waitpid(child, 0)\n"
    write(tmp_path / "good.py", fork + GOOD)
    write(tmp_path / "bad.py", fork + "else:\n    raise ValueError\n" + GOOD)
    command = [sys.executable, "-P", "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["plugins"] == ["bad", "good"]
    assert done.stderr.count("has forked") == 2


def test_one_that_fails_is_a_problem_with_its_place_and_the_others_load(tmp_path: Path) -> None:
    write(tmp_path / "good.py", GOOD)
    broken = write(tmp_path / "broken.py", "def f():\n    return 1 / 0\n\nf()\n")
    found = load(tmp_path)
    (problem,) = found["problems"]
    assert found["plugins"] == ["good"]
    assert (problem["plugin"], problem["file"], problem["line"]) == ("broken", str(broken), 2)
    assert "ZeroDivisionError" in problem["message"]
    assert "Traceback" in problem["trace"]


def test_a_syntax_error_names_the_file_it_is_in_though_another_imports_it(tmp_path: Path) -> None:
    write(tmp_path / "shop/__init__.py", "from plugins.shop import parts\n" + GOOD)
    parts = write(tmp_path / "shop/parts.py", "x = 1\ny = = 2\n")
    (problem,) = load(tmp_path)["problems"]
    assert (problem["file"], problem["line"]) == (str(parts), 2)


def test_an_error_in_a_library_is_placed_where_the_plugin_called_it(tmp_path: Path) -> None:
    mine = write(tmp_path / "calls.py", "import json\n\njson.loads('{')\n" + GOOD)
    (problem,) = load(tmp_path)["problems"]
    assert (problem["file"], problem["line"]) == (str(mine), 3)


def test_one_that_declares_nothing_or_exits_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path / "nothing.py", "x = 1\n")
    write(tmp_path / "exits.py", "import sys\nsys.exit(0)\n")
    messages = {p["plugin"]: p["message"] for p in load(tmp_path)["problems"]}
    assert "plugin = Plugin(...)" in messages["nothing"]
    assert "SystemExit" in messages["exits"]


def test_two_of_one_name_are_a_problem_that_names_both(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "shop.py", GOOD)
    two = write(tmp_path / "b" / "shop.py", GOOD)
    (problem,) = load(tmp_path / "a", tmp_path / "b")["problems"]
    assert str(one) in problem["message"]
    assert str(two) in problem["message"]


def test_a_folder_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    (problem,) = load(tmp_path / "nowhere")["problems"]
    assert problem["message"] == f"The plugin folder {tmp_path}/nowhere does not exist."


def test_the_folder_that_nobody_names_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(Path("plugins"))["problems"] == []


METRICS = """
from prometheus_client import Counter, Gauge, Histogram, Info
{}("{}", "text")
"""


@pytest.mark.parametrize(
    ("kind", "name", "shown"),
    [
        ("Counter", "platform_http_refusals", "platform_http_refusals_total"),
        ("Histogram", "platform_http_request_duration_seconds", ""),
        ("Gauge", "platform_shop_sales", ""),
        ("Counter", "platform_http_requests_total", ""),
        ("Info", "platform", "platform_info"),
        ("Gauge", "process_open_fds", ""),
        ("Gauge", "process_cpu_seconds", ""),
        ("Histogram", "http_server_request_duration_seconds", ""),
        ("Gauge", "http_server_request_duration_seconds_count", ""),
    ],
)
def test_a_metric_with_a_name_of_ours_is_refused_with_plugin_metric_and_remedy(
    tmp_path: Path, kind: str, name: str, shown: str
) -> None:
    """A21: it vanished, because the platform's of that name counts."""
    write(tmp_path / "mine.py", METRICS.format("Counter", "shop_sales") + GOOD)
    write(tmp_path / "ours.py", METRICS.format(kind, name) + GOOD)
    found = load(tmp_path)
    (problem,) = found["problems"]
    assert (problem["plugin"], found["plugins"]) == ("ours", ["mine"])
    assert problem["message"].startswith(f"It makes the metric {shown or name}")
    assert "Give it another name" in problem["message"]


def test_names_that_only_resemble_ours_are_free(tmp_path: Path) -> None:
    names = ("platforms", "my_platform_http_requests", "process_orders", "http_requests")
    for number, name in enumerate(names):
        write(tmp_path / f"shop{number}.py", METRICS.format("Counter", name) + GOOD)
    assert load(tmp_path)["problems"] == []


def test_what_a_field_of_plugin_does_not_take_is_a_problem_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "shop.py",
        "from skep import Plugin\n\nplugin = Plugin(tasks=5, crons=[print])\n",
    )
    found = load(tmp_path)["problems"]
    assert [(p["plugin"], p["file"], p["line"]) for p in found] == [("shop", str(path), 3)] * 2
    assert found[0]["message"].startswith("tasks is 5; tasks takes a list of subclasses of Task")
    assert found[0]["trace"] == ""


def test_what_a_module_adds_after_it_has_made_its_plugin_is_checked_too(tmp_path: Path) -> None:
    write(
        tmp_path / "shop.py", "from skep import Plugin\nr = []\nplugin = Plugin(r)\nr.append(5)\n"
    )
    (problem,) = load(tmp_path)["problems"]
    assert problem["message"].startswith("routes[0] is 5")


def test_an_unknown_field_and_what_is_no_plugin_are_named(tmp_path: Path) -> None:
    write(tmp_path / "shop.py", "from skep import Plugin\nplugin = Plugin(task=[])\n")
    write(tmp_path / "stand.py", "from skep import Plugin\nplugin = Plugin\n")
    shop, stand = load(tmp_path)["problems"]
    assert shop["message"].startswith("Plugin has no field `task`; its fields are routes, mounts")
    assert shop["message"].endswith("Did you mean `tasks`?")
    assert "Its `plugin` is the class skep.api.plugin.Plugin" in stand["message"]


def test_an_attribute_of_a_task_that_is_nearly_one_is_named(tmp_path: Path) -> None:
    text = "from skep import Plugin, Task\nclass Send(Task):\n    retries = 3\nplugin = Plugin()\n"
    write(tmp_path / "shop.py", text)
    (problem,) = load(tmp_path)["problems"]
    assert "`retries = 3`" in problem["message"]
    assert "Did you mean `tries`?" in problem["message"]


def test_threads_and_sockets_opened_at_import_forbid_the_fork_and_are_named(
    tmp_path: Path,
) -> None:
    write(
        tmp_path / "threads" / "busy.py",
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n" + GOOD,
    )
    write(tmp_path / "sockets" / "open.py", "import socket\ns = socket.socket()\n" + GOOD)
    assert "plugin busy started a thread" in load(tmp_path / "threads")["unforkable"]
    assert "plugin open opened a socket" in load(tmp_path / "sockets")["unforkable"]


def test_nothing_is_read_from_or_written_to_a_cache_of_compiled_code(tmp_path: Path) -> None:
    write(tmp_path / "shop.py", GOOD)
    load(tmp_path)
    assert not (tmp_path / "__pycache__").exists()
