"""A headless Chromium, driven over two pipes: what a page shows, asks for and complains of."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRE = "TRACKVERSE_REQUIRE_CHROMIUM"
PATIENCE_SECONDS = 120.0


def chromium() -> str:
    """Return the browser's path, or skip the test, saying so."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        told = "no Chromium is installed here (Debian and Ubuntu: apt-get install chromium)"
        if os.environ.get(REQUIRE):
            pytest.fail(f"{REQUIRE} is set, but {told}")
        pytest.skip(told)
    return found


@dataclass
class Seen:
    """What a page did while it was open.

    Attributes:
        requests: addresses that it asked for, but for itself and data within it.
        complaints: what stood in the console: errors, warnings, broken policies.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Browser:
    """One headless browser with one page; a context manager."""

    def __init__(self) -> None:
        program = chromium()
        # Its helpers may write into their profile for a moment after the browser itself has ended.
        self._folder = tempfile.TemporaryDirectory(
            prefix="trackverse-browser-", ignore_cleanup_errors=True
        )
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
            "--force-color-profile=srgb", "--remote-debugging-pipe",
            f"--user-data-dir={self._folder.name}", "about:blank",
        ]  # fmt: skip
        # The browser speaks on descriptors 3 and 4.
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = ours_out, ours_in
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        self.seen = Seen()

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; what happens meanwhile is noted."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._out, rest) :]
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], deadline - time.monotonic())
            assert ready, "the browser says nothing"
            block = os.read(self._in, 1 << 16)
            assert block, "the browser has ended"
            self._buffer += block
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self._events.append(message)
            self._note(message["method"], message["params"])
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            is_page = params.get("type") == "Document"
            if not url.startswith("data:") and not is_page:
                self.seen.requests.append(url)
        elif method == "Log.entryAdded":
            self.seen.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.seen.complaints.append(json.dumps(params["args"]))
        elif method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening"):
            self.seen.complaints.append(json.dumps(params))

    def show(self, page: Path, width: int, height: int, scheme: str = "light") -> None:
        """Open a file in a viewport of so many pixels, in a `light` or `dark` scheme."""
        self.seen = Seen()
        self._events = []
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if mobile else 1, mobile=mobile,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=page.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._message()

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path: Path, whole: bool = False) -> Path:
        """Write what is in sight, or the whole page, as a PNG."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))
        return path
