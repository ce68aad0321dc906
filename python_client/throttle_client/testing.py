"""For tests of code that takes locks: without any server, or with one of the test's own.

`without_server` grants everything at once. `Server` is the real thing, started on a free port,
ended and started again at will, as a context manager. With pytest, write
`pytest_plugins = ["throttle_client.testing"]` into the topmost `conftest.py`; tests can then ask
for the fixture `throttle_server`.

The module needs nothing beside the standard library and imports nothing of its package, so that it
can also be loaded by its path.
"""

import errno
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from unittest.mock import patch

START_SECONDS = 10
STOP_SECONDS = 10
LISTENING = re.compile(r"^Throttle \S+ listening on (http://127\.0\.0\.1:(\d+))$")

Semaphores = Mapping[str, int | tuple[int, int]]


class Server:
    """A `throttle` process on loopback that keeps its port when it is started again.

    As a context manager it starts, and is killed at the end. What is never killed ends with the
    interpreter at the latest. One thread at a time may use a server.

    Attributes:
        url: where it listens, such as `http://127.0.0.1:54321`; empty before the first start.
    """

    def __init__(
        self, semaphores: Semaphores, *, binary: str | None = None, extra: str = ""
    ) -> None:
        """Prepare a server that does not run yet.

        Args:
            semaphores: maps each name to its max, or to its max and its level.
            binary: the program to run, a path or a name on PATH. By default what the environment
                variable THROTTLE_BIN says, else `throttle`.
            extra: more of the configuration, as TOML: first top-level keys, then tables. It is put
                before `[semaphores]`.

        Raises:
            FileNotFoundError: there is no such program.
        """
        self.url = ""
        self._binary = _find(binary or os.environ.get("THROTTLE_BIN") or "throttle")
        self._configuration = _toml(semaphores, extra)
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self._is_paused = False

    def __enter__(self) -> Self:
        """Start the process; see `start`."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the process, if it still runs."""
        self.kill()

    def start(self) -> None:
        """Start the process and return as soon as it listens, for the first time or again.

        Raises:
            RuntimeError: it runs already.
            ServerDidNotStart: it ended instead, or did not listen within ten seconds.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError("the server runs already")
        self.kill()
        # The file is read once, at the start, and thus need not outlive it.
        with tempfile.TemporaryDirectory(prefix="throttle-") as directory:
            configuration = Path(directory, "throttle.toml")
            configuration.write_text(self._configuration, encoding="utf-8")
            self._process = self._spawn(configuration)
            # Neither this nor the thread may refer to the server, or it would never be garbage.
            self._end = weakref.finalize(self, _kill, self._process)
            lines: list[str] = []
            found: queue.Queue[re.Match[str] | None] = queue.Queue()
            self._drain = threading.Thread(
                target=_drain, args=(self._process, lines, found), daemon=True
            )
            self._drain.start()
            try:
                listening = found.get(timeout=START_SECONDS)
            except queue.Empty:
                listening = None
        if listening is None:
            self.kill()
            raise ServerDidNotStart("".join(lines))
        self.url, self._port = listening[1], listening[2]

    def kill(self) -> None:
        """End the process at once, as a crash would, paused or not; without one, do nothing."""
        if self._process is not None:
            self._end()
            self._drain.join()
            self._process = None
            self._is_paused = False

    def stop(self) -> int:
        """Ask the process to shut down and wait until it has; a paused one must be resumed first.

        Returns:
            Its exit code.

        Raises:
            RuntimeError: it does not run.
            subprocess.TimeoutExpired: it still runs after ten seconds.
        """
        process = self._running()
        process.terminate()
        exit_code = process.wait(STOP_SECONDS)
        self.kill()
        return exit_code

    def pause(self) -> None:
        """Let the process stand still: connections succeed, but nobody answers. Not on Windows.

        Raises:
            RuntimeError: it does not run.
        """
        process = self._running()
        if not self._is_paused:
            process.send_signal(signal.SIGSTOP)
            # The signal takes its time, in which some thread might still answer.
            os.waitpid(process.pid, os.WUNTRACED)
            self._is_paused = True

    def resume(self) -> None:
        """Let a paused process go on; the others go on anyway. Not on Windows.

        Raises:
            RuntimeError: it does not run.
        """
        self._running().send_signal(signal.SIGCONT)
        self._is_paused = False

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the server does not run")
        return self._process

    def _spawn(self, configuration: Path) -> subprocess.Popen[str]:
        # What the variable says in the shell of whoever runs the tests must not matter.
        environment = {key: value for key, value in os.environ.items() if key != "THROTTLE_LOG"}
        return subprocess.Popen(
            [self._binary, "--port", self._port, "-c", str(configuration)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )


class ServerDidNotStart(RuntimeError):
    """The process ended before it listened, or took too long.

    Attributes:
        stderr: what it wrote on standard error until then.
    """

    def __init__(self, stderr: str) -> None:
        """Keep what the process had to say."""
        super().__init__(stderr)
        self.stderr = stderr

    def __str__(self) -> str:
        """Say what happened, and what the process said."""
        return f"the server does not listen: {self.stderr.strip() or 'it wrote nothing'}"


class StartServer(Protocol):
    """What the fixture `throttle_server` gives: call it for a server that runs."""

    def __call__(
        self, semaphores: Semaphores, *, binary: str | None = None, extra: str = ""
    ) -> Server:
        """Start a server; the arguments and errors are those of `Server` and its `start`."""
        ...


@contextmanager
def without_server() -> Iterator[None]:
    """Grant all locks at once, without any server, for tests of code that takes locks.

    Everything of `throttle_client` talks to nobody meanwhile, in all threads: every lock is free,
    whatever its semaphore, URL and count, every lease is good, and nothing waits. What is wrong
    without asking a server is wrong still, such as nesting the same semaphore.
    """
    # Imported here, so that the rest of this module can be used without the package.
    from throttle_client._client import Client
    from throttle_client._pretending import PretendingWire

    with (
        patch.object(Client, "blocking_wire", lambda client: PretendingWire()),
        patch.object(Client, "async_wire", lambda client: PretendingWire()),
    ):
        yield


try:
    import pytest
except ImportError:
    # Without pytest there is no fixture; all else works.
    pass
else:

    @pytest.fixture
    def throttle_server() -> Iterator[StartServer]:
        """Start servers with the semaphores given; all of them are killed when the test ends."""
        with ExitStack() as servers:

            def start(
                semaphores: Semaphores, *, binary: str | None = None, extra: str = ""
            ) -> Server:
                return servers.enter_context(Server(semaphores, binary=binary, extra=extra))

            yield start


def _find(binary: str) -> str:
    """Find a program, so that a later change of the working directory does no harm."""
    found = shutil.which(binary)
    if found is None:
        reason = (
            "no such program; set the environment variable THROTTLE_BIN to the path of Throttle's "
            "binary, or put it on PATH (`cargo install --path .` in Throttle's repository does)"
        )
        raise FileNotFoundError(errno.ENOENT, reason, binary)
    return str(Path(found).absolute())


def _toml(semaphores: Semaphores, extra: str) -> str:
    """Spell a configuration; a JSON string is a TOML string but for surrogates and DEL."""
    lines = [extra, "[semaphores]"]
    for name, size in semaphores.items():
        maximum, level = size if isinstance(size, tuple) else (size, 0)
        key = json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
        lines.append(f"{key} = {{ max = {maximum}, level = {level} }}")
    return "\n".join(lines) + "\n"


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process, unless it has ended, and reap it."""
    process.kill()
    process.wait()


def _drain(
    process: subprocess.Popen[str],
    lines: list[str],
    found: queue.Queue[re.Match[str] | None],
) -> None:
    """Read stderr to its end, for a full pipe would block the server; keep what led to the start.

    Args:
        process: whose stderr it is; closed at the end.
        lines: takes what is written before the server listens.
        found: takes the match of the line that says where it listens, and None at the end.
    """
    assert process.stderr is not None
    listening = None
    with process.stderr:
        for line in process.stderr:
            if listening is not None:
                continue
            lines.append(line)
            if listening := LISTENING.match(line.rstrip("\n")):
                found.put(listening)
    found.put(None)
