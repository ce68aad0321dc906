"""A real server, a real browser, and people who hold locks; and a watch over what goes wrong.

The browser is looked for on PATH as `chromium` (`apt-get install chromium` on Debian), unless the
environment variable CHROMIUM says where it is. Where it is missing, the tests are skipped.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from throttle_client import lock

BUILT = Path(__file__).parents[2] / "target" / "debug" / "throttle"
BINARY = os.environ.get("THROTTLE_BIN") or str(BUILT)
WAIT_SECONDS = 10

# Reports what the policy forbade, wherever it happens.
REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error("forbidden", event.violatedDirective, event.blockedURI));
"""


class Throttle:
    """A server on loopback, whose configuration can be written anew, and which can come back."""

    def __init__(self, configuration: Path) -> None:
        self.configuration = configuration
        self.url = ""
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None

    def start(self, text: str | None = None) -> Self:
        """Write the configuration, if one is given, and return as soon as the server listens."""
        if text is not None:
            self.configuration.write_text(text, encoding="utf-8")
        # What the variable says in the shell of whoever runs the tests must not matter.
        environment = {key: value for key, value in os.environ.items() if key != "THROTTLE_LOG"}
        self._process = subprocess.Popen(
            [BINARY, "--port", self._port, "-c", str(self.configuration)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self._process.stderr is not None
        said = []
        # What it says afterwards is little, and stays in the pipe.
        for line in self._process.stderr:
            said.append(line)
            if " listening on http" in line:
                self.url = line.split()[-1]
                self._port = self.url.rpartition(":")[2]
                return self
        raise RuntimeError("".join(said))

    def kill(self) -> None:
        """End it as a crash would, if it runs."""
        if self._process is not None:
            with self._process:
                self._process.kill()
            self._process = None


class Holder:
    """Somebody who wants a lock, in a thread, by the real client; and holds it until told."""

    def __init__(self, url: str, semaphore: str, name: str, count: int = 1) -> None:
        self.acquired = threading.Event()
        self._enough = threading.Event()
        arguments = (url, semaphore, name, count)
        self._thread = threading.Thread(target=self._hold, args=arguments, daemon=True)
        self._thread.start()

    def _hold(self, url: str, semaphore: str, name: str, count: int) -> None:
        with lock(url, semaphore, count=count, name=name, raise_if_lost=False):
            self.acquired.set()
            self._enough.wait()

    def wait(self) -> Self:
        """Return once it holds the lock."""
        assert self.acquired.wait(WAIT_SECONDS)
        return self

    def let_go(self) -> None:
        """Hold the lock no longer, or not at all once it is granted."""
        self._enough.set()

    def give_back(self) -> None:
        """Return once the lock is given back."""
        self.let_go()
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy that the environment names out of what is meant for loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def throttle(tmp_path: Path) -> Iterator[Throttle]:
    """Prepare a server that the test starts; it is killed at the end."""
    server = Throttle(tmp_path / "throttle.toml")
    yield server
    server.kill()


@pytest.fixture
def holds(throttle: Throttle) -> Iterator[Callable[..., Holder]]:
    """Let somebody ask for a lock; whoever holds one at the end gives it back."""
    holders: list[Holder] = []

    def hold(semaphore: str, name: str, count: int = 1) -> Holder:
        holders.append(Holder(throttle.url, semaphore, name, count))
        return holders[-1]

    yield hold
    for holder in holders:
        holder.let_go()
    for holder in holders:
        holder.give_back()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the browser once for all tests."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def accepted() -> list[str]:
    """Take texts that messages of the browser's console may contain in this test."""
    return []


@pytest.fixture
def page(browser: Browser, accepted: list[str]) -> Iterator[Page]:
    """Give the test a page; it fails if a script fails or the policy forbids something."""
    complaints: list[str] = []
    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(REPORT_VIOLATIONS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(f"{message.text} {message.location['url']}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    yield page
    context.close()
    assert [text for text in complaints if not any(part in text for part in accepted)] == []
