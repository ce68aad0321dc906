"""A Throttle server of the test's own: started on a free port, killed and started again at will."""

import json
import os
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

START_SECONDS = 10
STOP_SECONDS = 10
LISTENING = re.compile(r"^Throttle \S+ listening on (http://127\.0\.0\.1:(\d+))$")


class Server:
    """A `throttle` process on loopback that keeps its port when it is started again."""

    def __init__(
        self, binary: str, directory: Path, semaphores: Mapping[str, tuple[int, int]]
    ) -> None:
        """Write the configuration; `semaphores` maps each name to its max and its level."""
        self.url = ""
        self._binary = binary
        self._configuration = directory / "throttle.toml"
        self._configuration.write_text(_toml(semaphores), encoding="utf-8")
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process and return as soon as it listens."""
        assert self._process is None, "the server runs already"
        # What the variable says in the shell of whoever runs the tests must not matter.
        environment = {key: value for key, value in os.environ.items() if key != "THROTTLE_LOG"}
        command = [self._binary, "--port", self._port, "-c", str(self._configuration)]
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        found: queue.Queue[re.Match[str] | None] = queue.Queue()
        lines: list[str] = []
        drain = threading.Thread(target=_drain, args=(self._process, lines, found), daemon=True)
        drain.start()
        try:
            listening = found.get(timeout=START_SECONDS)
        except queue.Empty:
            listening = None
        assert listening is not None, f"the server does not listen: {''.join(lines)}"
        self.url, self._port = listening[1], listening[2]

    def kill(self) -> None:
        """End the process at once, as a crash would; without a process, do nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Ask the process to shut down and return its exit code."""
        assert self._process is not None, "the server does not run"
        self._process.terminate()
        exit_code = self._process.wait(STOP_SECONDS)
        self._process = None
        return exit_code


StartServer = Callable[[Mapping[str, tuple[int, int]]], Server]


@pytest.fixture
def start_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartServer]:
    """Start servers with the given semaphores; all of them end with the test."""
    binary = os.environ.get("THROTTLE_BIN")
    if not binary:
        pytest.fail("set THROTTLE_BIN to the path of the throttle binary under test")
    # The clients would otherwise send what is meant for loopback through a configured proxy.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers: list[Server] = []

    def start(semaphores: Mapping[str, tuple[int, int]]) -> Server:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        servers.append(Server(binary, directory, semaphores))
        servers[-1].start()
        return servers[-1]

    yield start

    for server in servers:
        server.kill()


def _drain(
    process: subprocess.Popen[str],
    lines: list[str],
    found: "queue.Queue[re.Match[str] | None]",
) -> None:
    """Read stderr to its end, for a full pipe would block the server."""
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.append(line)
            if match := LISTENING.match(line.rstrip("\n")):
                found.put(match)
    found.put(None)


def _toml(semaphores: Mapping[str, tuple[int, int]]) -> str:
    """Spell a configuration; a JSON string is a TOML string as long as it escapes no surrogates."""
    lines = ["[semaphores]"]
    for name, (maximum, level) in semaphores.items():
        key = json.dumps(name, ensure_ascii=False)
        lines.append(f"{key} = {{ max = {maximum}, level = {level} }}")
    return "\n".join(lines) + "\n"
