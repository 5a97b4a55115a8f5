"""Headless Chromium by its DevTools protocol, over a pipe: nothing to install but the browser itself."""

import base64
import json
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CHROMIUM", "Page", "browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu-sandbox --hide-scrollbars --no-first-run --disable-background-networking "
    "--disable-component-update --disable-extensions --disable-sync --disable-dev-shm-usage --mute-audio "
    "--use-angle=swiftshader --enable-unsafe-swiftshader --disable-gpu-compositing --disable-gpu-rasterization "
    "--remote-debugging-pipe about:blank"
).split()


@dataclass
class Page:
    """One tab; `asked` are addresses of what it wanted to load and does not hold itself, `said` what its console was told."""

    ask: int
    answers: object
    session: str = ""
    asked: list = field(default_factory=list)
    said: list = field(default_factory=list)
    number: int = 0

    def call(self, method, **given):
        """Result of a method of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": given} | ({"sessionId": self.session} if self.session else {})
        os.write(self.ask, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self):
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser is gone"
            text += byte
        message = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.asked += [url for url in [message["params"]["request"]["url"]] if not url.startswith("data:")]
        if message.get("method") == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(each.get("value", each.get("description"))) for each in message["params"]["args"]))
        if message.get("method") == "Runtime.exceptionThrown":
            self.said.append(message["params"]["exceptionDetails"].get("exception", {}).get("description", "exception"))
        return message

    def run(self, script):
        """Value of an expression, awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def resize(self, width, height=900, scheme="light"):
        """Look through a window of this size, by day or by night."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open(self, path):
        """Open a file and wait until its scripts have done their work."""
        self.asked.clear()
        self.said.clear()
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        explored = "!document.querySelector('script[type=module]') || document.documentElement.dataset.explored"
        ready = f"document.readyState === 'complete' && ({explored})"
        self.run(f"new Promise((done) => {{ const look = () => {ready} ? done() : setTimeout(look, 20); look(); }})")

    def screenshot(self, path):
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True, optimizeForSpeed=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))


_PATIENCE = 600  # seconds for all that is done in one browser


@contextmanager
def browser(profile):
    """A page in a new browser, with its profile in this folder; one that hangs is ended."""
    (to_read, ask), (hear, to_write) = os.pipe(), os.pipe()

    def wired():
        os.dup2(to_read, 200), os.dup2(to_write, 201)
        os.dup2(200, 3), os.dup2(201, 4)

    command = [CHROMIUM, f"--user-data-dir={profile}", *_OPTIONS]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, preexec_fn=wired, close_fds=False, **quiet)
    os.close(to_read), os.close(to_write)
    watchdog = threading.Timer(_PATIENCE, process.kill)
    watchdog.start()
    try:
        with os.fdopen(hear, "rb", buffering=1 << 20) as answers:
            page = Page(ask, answers)
            tab = page.call("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime"):
                page.call(f"{domain}.enable")
            yield page
            page.session = ""
            page.call("Browser.close")
    finally:
        os.close(ask)
        watchdog.cancel()
        process.terminate()
        process.wait()
