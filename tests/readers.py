"""Those who read what `platform env export` writes: real ones, or their rules written down."""

import base64
import ctypes
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from dotenv import dotenv_values

from tests.packages import require, systemd_library


def python_dotenv(path: Path) -> dict[str, str | None]:
    return dotenv_values(path, encoding="utf-8")


def sourced(shell: str) -> Callable[[Path], dict[str, str | None]]:
    """Return a reader that lets a shell read the file and shows what a child of it is given."""

    def read(path: Path) -> dict[str, str | None]:
        done = subprocess.run(
            [require(shell), "-c", f". {path} && exec env -0"],
            cwd=path.parent,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        return _variables(done.stdout)

    return read


def docker(path: Path) -> dict[str, str | None]:
    """`docker run --env-file`, by docker/cli's opts: lines that are not comments; no quotes, no
    escapes; leading blanks are cut; a name without `=` is passed on from the environment."""
    found: dict[str, str | None] = {}
    for raw in path.read_bytes().split(b"\n"):
        line = raw.removesuffix(b"\r").decode().lstrip()
        assert len(raw) < 65536
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        assert name
        assert not any(c.isspace() for c in name)
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def systemd(path: Path) -> dict[str, str | None]:
    """systemd's own parser of EnvironmentFile=, called in its library."""
    library = ctypes.CDLL(str(systemd_library()))
    strings = ctypes.POINTER(ctypes.c_char_p)()
    result = library.load_env_file(None, os.fsencode(path), ctypes.byref(strings))
    assert result >= 0, os.strerror(-result)
    found: dict[str, str | None] = {}
    # It is NULL when there is nothing, and ends with a NULL otherwise.
    for n in itertools.count() if strings else ():
        if strings[n] is None:
            break
        name, _, value = strings[n].decode().partition("=")
        found[name] = value
    return found


def systemd_by_its_rules(path: Path) -> dict[str, str | None]:
    """EnvironmentFile= by systemd.exec(5), as far as double-quoted values go: a backslash keeps the
    next of `"`, backslash, backtick and dollar, and joins lines; all else stands for itself."""
    text, found = path.read_bytes().decode(), dict[str, str | None]()
    while text:
        if text[0] in "#;":
            text = text.partition("\n")[2]
            continue
        name, _, text = text.partition('="')
        value = ""
        while text[0] != '"':
            if text[0] == "\\" and text[1] in '"\\`$\n':
                value, text = value + text[1].replace("\n", ""), text[2:]
            else:
                value, text = value + text[0], text[1:]
        assert text[1] == "\n"
        found[name], text = value, text[2:]
    return found


def json_reader(path: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = json.loads(path.read_bytes())
    return found


def kubernetes(path: Path) -> dict[str, str | None]:
    manifest = yaml.safe_load(path.read_bytes())
    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Secret")
    return {name: base64.b64decode(text).decode() for name, text in manifest["data"].items()}


def environment_of_a_child(environment: dict[str, str]) -> dict[str, str | None]:
    """What a real process is given."""
    done = subprocess.run(["/usr/bin/env", "-0"], env=environment, capture_output=True, check=True)
    return _variables(done.stdout)


def _variables(output: bytes) -> dict[str, str | None]:
    pairs = (item.decode().partition("=") for item in output.split(b"\0") if item)
    return {name: value for name, _, value in pairs}
