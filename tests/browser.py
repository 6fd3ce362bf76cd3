# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven through its DevTools protocol over two pipes: keys, pointers, pictures, messages."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# WebGL without a GPU.
OPTIONS = ["--headless", "--no-sandbox", "--hide-scrollbars", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
           "--disable-background-networking", "--no-first-run", "--remote-debugging-pipe"]  # fmt: skip


class Page:
    """A page of a browser of its own; a context manager.

    Parameters
    ----------
    profile : path
        Folder for what the browser keeps.
    address : str
        Of the page.
    size : (width, height)
        Of the window, in px.
    """

    def __init__(self, profile: Path, address: str, size: tuple[int, int]) -> None:
        self.requests: list[str] = []
        self.told: list[str] = []
        """What came to the console, and errors that nothing caught."""
        self._buffer, self._last = b"", 0
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()

        def connect() -> None:
            # Chromium reads file descriptor 3 and writes 4, whichever the pipes have here.
            low, high = os.dup(commands), os.dup(answers)
            while low < 5 or high < 5:
                low, high = os.dup(low), os.dup(high)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.navigate", url=address)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], 120)
            assert ready, "the browser does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.told.append(" ".join(str(one.get("value", one.get("description"))) for one in event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.told.append(json.dumps(event["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.told.append(event["entry"]["text"])

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript comes to; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 90) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"{expression} does not become true; the console has {self.told}"
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Press a key, and let go; return when it is drawn."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        self.settle()

    def settle(self) -> None:
        """Wait for three frames."""
        for _ in range(3):
            self.value("new Promise(done => requestAnimationFrame(done))")

    def box(self, selector: str) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of an element, in px."""
        sides = self.value(
            f"(r => [r.left, r.top, r.right, r.bottom])(document.querySelector({selector!r}).getBoundingClientRect())"
        )
        left, top, right, bottom = (round(side) for side in sides)
        return left, top, right, bottom

    def picture(self, file: Path | None = None) -> np.ndarray:
        """What is on the screen, shape (rows, columns, 3); also into a file."""
        content = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if file is not None:
            file.write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
