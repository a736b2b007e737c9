"""A headless Chromium for tests of pages: opens an address, runs script in it, and collects every error.

Speaks the DevTools protocol over the pipe that Chromium offers, so it needs no further package.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
LIMIT = 120.0  # seconds until a silent browser counts as hung
GONE = ("Cannot find context", "Execution context was destroyed", "No frame for given id")
FRAMES = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}


class ContextGone(AssertionError):
    """The frame has gone on to another document since its context was asked for, before an answer came."""


class Browser:
    """One page after the other; `errors` are those of the page that is open, its frames included."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._numbers, self._buffer = itertools.count(1), b""
        self._page = ""
        self.errors: list[str] = []

    def open(self, address: str, width: int = 1280, height: int = 900) -> None:
        """Show an address in a new tab and wait until it has loaded."""
        if self._page:
            self._call("Target.closeTarget", session="", targetId=self._target)
        self.errors = []
        self._target = self._call("Target.createTarget", session="", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", session="", targetId=self._target, flatten=True)
        self._page = attached["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def run(self, script: str, frame: bool = False) -> object:
        """The value of an expression in the page, or in its only frame; an exception in it fails the test."""
        where = {"contextId": self._frame()} if frame else {}
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, **where)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str, frame: bool = False) -> None:
        """Return as soon as an expression is true in the page, or in its only frame."""
        end = time.monotonic() + LIMIT
        while not self._holds(condition, frame):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.05)

    def wait_for_error(self) -> None:
        """Return as soon as the page has an error; some are told only after it has loaded."""
        end = time.monotonic() + LIMIT
        while not self.errors:
            assert time.monotonic() < end, "no error came"
            self.run("new Promise((done) => setTimeout(done, 50))")

    def screenshot(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _holds(self, condition: str, frame: bool) -> bool:
        try:
            return self.run(f"Boolean({condition})", frame)
        except ContextGone:  # a frame starts with an empty document, and its page takes that one's place
            return False

    def _frame(self) -> int:
        """A script context in the only frame of the page, which shares its document and nothing else."""
        [child] = self._call("Page.getFrameTree")["frameTree"]["childFrames"]
        return self._call("Page.createIsolatedWorld", frameId=child["frame"]["id"])["executionContextId"]

    def _call(self, method: str, session: str | None = None, **params: object) -> dict:
        number = self._send(method, self._page if session is None else session, **params)
        while (answer := self._receive()).get("id") != number:
            self._note(answer)
        error = answer.get("error", {})
        if error.get("message", "").startswith(GONE):
            raise ContextGone(method, error)
        assert not error, (method, error)
        return answer["result"]

    def _send(self, method: str, session: str, **params: object) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        return number

    def _receive(self) -> dict:
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._answers], [], [], LIMIT)
            assert readable, "the browser does not answer"
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        """Keep an error: an exception, console.error, or what the browser itself logs, as of a file not found."""
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(f"{details['text']} {details.get('exception', {}).get('description', '')}".strip())
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(part.get("value", part.get("description"))) for part in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')[:200]}".strip())
        elif method == "Target.attachedToTarget":
            for domain in ("Runtime", "Log", "Page"):
                self._send(f"{domain}.enable", params["sessionId"])
            self._send("Target.setAutoAttach", params["sessionId"], **FRAMES)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile folder; ended at exit."""
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    # Chromium reads its commands on descriptor 3 and answers on 4; a plain sh knows no descriptor above 9.
    shell = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
    process = subprocess.Popen(
        ("bash", "-c", shell, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"),
        pass_fds=(read_commands, write_answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(commands, answers)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(commands)
        os.close(answers)
