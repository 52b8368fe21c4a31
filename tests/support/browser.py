"""Drives a headless Chromium through its DevTools protocol over a pipe; needs nothing but the browser."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess

PATIENCE = 60  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find():
    """Return the path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A page in a headless browser.

    Attributes:
        problems: console errors, uncaught exceptions and failed loads so far.
    """

    def __init__(self, profile, size=(1200, 900)):
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()

        def pipes():  # Chromium reads commands from 3 and answers on 4
            a, b = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read_there, write_there))
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--no-first-run",
             "--disable-dev-shm-usage", "about:blank"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        os.close(read_there)
        os.close(write_there)
        self.input, self.output, self.buffer = os.fdopen(write_here, "wb", 0), read_here, b""
        self.number, self.session, self.problems, self.events = 0, None, [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.buffer:
            if not select.select([self.output], [], [], PATIENCE)[0]:
                raise TimeoutError(f"the browser has said nothing for {PATIENCE} s")
            part = os.read(self.output, 2 ** 20)
            if not part:
                raise EOFError("the browser has ended")
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(text)
        self.events.append(message.get("method"))
        given = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.problems.append(str(given["args"]))
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(given["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.problems.append(given["entry"]["text"])
        return message

    def call(self, method, **params):
        """Send a command; returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.input.write(json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.events:
            self.read()

    def evaluate(self, expression):
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def click(self, selector):
        """Click in the middle of the first element of a CSS selector, by the mouse."""
        x, y = self.evaluate(f"(() => {{const e = document.querySelector({selector!r}); "
                             "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); "
                             "return [r.x + r.width / 2, r.y + r.height / 2]})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screen(self, width, height=900, dark=False):
        """Show pages on a screen of this size in CSS pixels, a telephone's below 600, in a light or dark scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def type(self, text):
        """Type into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path, whole=False):
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(taken["data"]))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except (EOFError, OSError):
            pass
        self.input.close()
        os.close(self.output)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
