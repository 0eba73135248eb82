"""A real Chromium without a window, driven through chromedriver (W3C WebDriver)."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx

from tests.packages import require
from tests.support import wait_until

_ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Browser:
    """One page of one browser."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def open(self, url: str) -> None:
        """Load a page."""
        self._post("url", url=url)

    def run(self, script: str) -> Any:
        """Run JavaScript in the page; return what it returns."""
        return self._post("execute/sync", script=script, args=[])

    def text(self, identifier: str) -> str:
        """Return the text of the element with this id."""
        found: str = self.run(f"return document.getElementById('{identifier}').innerText")
        return found

    def close(self) -> None:
        """End the browser."""
        self._client.delete(f"/session/{self._session}")

    def _post(self, what: str, **body: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}/{what}", json=body).json()
        assert "error" not in (answer["value"] or {}), answer
        return answer["value"]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; end it, and the driver, at the end."""
    require("chromium")
    process = subprocess.Popen(
        [require("chromedriver"), "--port=0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = wait_until(lambda: _port(process.stdout.readline()))  # type: ignore[union-attr]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            options = {"goog:chromeOptions": {"args": _ARGUMENTS}}
            made = client.post("/session", json={"capabilities": {"alwaysMatch": options}}).json()
            opened = Browser(client, made["value"]["sessionId"])
            try:
                yield opened
            finally:
                opened.close()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _port(line: str) -> int:
    """Return the port in `ChromeDriver was started successfully on port 43115.`"""
    words = line.rstrip(".\n").split()
    return int(words[-1]) if "successfully" in words else 0
