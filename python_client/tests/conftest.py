"""Fixtures of all tests: a server of the test's own, and no proxy on the way to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import Proxy

# Imported and not named as a plugin, which pytest allows in the topmost conftest.py only; which one
# that is depends on where it is run.
from throttle_client.testing import Semaphores, Server, StartServer, throttle_server

__all__ = ["throttle_server"]

# What `cargo build` made in this checkout, unless somebody names another one.
BUILT = Path(__file__).parents[2] / "target" / "debug" / "throttle"
if BUILT.exists():
    os.environ.setdefault("THROTTLE_BIN", str(BUILT))

# Name: max, or max and level.
SEMAPHORES: Semaphores = {"A": 5, "mutex": 1, "B": 5, "middle": (2, 1), "high": (2, 2)}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy that the environment names out of what is meant for loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(throttle_server: StartServer) -> Server:
    """Start a server with the semaphores that most tests need."""
    return throttle_server(SEMAPHORES)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Start a proxy in front of the server."""
    with Proxy(server.url) as proxy:
        yield proxy
