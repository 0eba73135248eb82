"""A real Chromium without a window, driven through chromedriver (W3C WebDriver)."""

import base64
import contextlib
import importlib.resources
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx

from tests.packages import require
from tests.support import wait_until

# The key of an element's id in WebDriver's answers.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
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

    def click(self, selector: str) -> None:
        """Click on the first element that the selector of CSS finds; it must be visible."""
        self._post(f"element/{self._element(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        """Replace what a field holds by typing."""
        element = self._element(selector)
        self._post(f"element/{element}/clear")
        self._post(f"element/{element}/value", text=text)

    def press(self, *keys: str) -> None:
        """Press keys in the element that has the focus; `\ue004` is Tab, `\ue007` Enter."""
        for key in keys:
            actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
            self._post("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def body(self) -> str:
        """Return the text of the page as it is seen."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def show_as(self, width: int, *, dark: bool = False, height: int = 800) -> None:
        """Be a window of this width, of a person who likes it light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, most: int = 1600) -> bytes:
        """Return the page, up to `most` pixels of it from its top, as PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], most)}
        shot = self.command(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        return base64.b64decode(shot["data"])

    def findings(self) -> list[str]:
        """Return what axe-core finds wrong with the page for people who cannot see it well, or have
        no mouse."""
        axe = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text()
        self.run(axe)
        found = self._post(
            "execute/async",
            script="const done = arguments[0]; axe.run().then(found => done(found.violations.map("
            "one => one.id + ': ' + one.nodes.map(node => node.target.join(' ')).join(', '))))",
            args=[],
        )
        return list(found)

    def command(self, name: str, **parameters: Any) -> Any:
        """Run a command of the DevTools protocol."""
        return self._post("goog/cdp/execute", cmd=name, params=parameters)

    def close(self) -> None:
        """End the browser."""
        self._client.delete(f"/session/{self._session}")

    def _element(self, selector: str) -> str:
        found = self._post("element", using="css selector", value=selector)
        return str(found[_ELEMENT])

    def _post(self, what: str, **body: Any) -> Any:
        answer = self._client.post(f"/session/{self._session}/{what}", json=body).json()
        value = answer["value"]
        assert not (isinstance(value, dict) and "error" in value), answer
        return value


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
