"""What can be broken around a server: its descriptors, its readers, its log host, its clock."""

import os
import resource
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

SHIM = Path(__file__).with_name("clock_shim.c")
# So many descriptors a server keeps for something else than connections.
OTHER_FILES = 32


def connections_of(url: str, number: int, *, request: str = "") -> ExitStack:
    """Make connections that take as little as possible, send the same on each, and never read.

    Returns:
        What closes them.
    """
    parts = urlsplit(url)
    stack = ExitStack()
    for _ in range(number):
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(5)
        connection.connect((parts.hostname, parts.port))
        connection.sendall(request.encode())
    return stack


def get(path: str, times: int = 1) -> str:
    """Spell requests for a page, one behind the other."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n" * times


@contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """Have each attempt of a process to open something fail, accepting connections included."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def full_log_host() -> Iterator[int]:
    """Open a port to which log messages can be sent, and which is full at once; nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        receiver.bind(("127.0.0.1", 0))
        yield int(receiver.getsockname()[1])


class NotHere(Exception):
    """This machine lacks what is needed; it says what."""


class WallClock:
    """The wall clock of a server, which can be stepped; all other clocks are as they are.

    Attributes:
        launcher: What a shell is to do so that the program that takes its place has this clock.
    """

    def __init__(self, directory: Path) -> None:
        """Build what is needed.

        Raises:
            NotHere: There is no compiler.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NotHere("the wall clock of one process can be stepped only where there is a cc")
        self._file = directory / "clock"
        library = directory / "clock.so"
        self.step_to(0)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"],
            check=True,
            timeout=60,
        )
        self.launcher = f'export CLOCK_SHIM="{self._file}" LD_PRELOAD="{library}"'

    def step_to(self, seconds: int) -> None:
        """Have the clock be ahead of the true one by so many seconds, or behind it."""
        file = os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.pwrite(file, struct.pack("=q", seconds), 0)
        finally:
            os.close(file)


def read_pid(path: Path) -> int:
    """Read the number of a process that its launcher has written down."""
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"nobody has written {path}"
        time.sleep(0.01)
    return int(path.read_text())
