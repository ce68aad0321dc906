"""A Throttle server of the test's own: started on a free port, killed and started again at will."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

TESTING = Path(__file__).parents[2] / "python_client" / "throttle_client" / "testing.py"

if TYPE_CHECKING:
    from throttle_client.testing import Server, StartServer, throttle_server
else:
    # By its path, for the package of that name that is installed here is the published one.
    spec = importlib.util.spec_from_file_location("throttle_testing", TESTING)
    testing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(testing)
    Server, StartServer = testing.Server, testing.StartServer
    throttle_server = testing.throttle_server

__all__ = ["Server", "StartServer", "start_server", "throttle_server"]


@pytest.fixture
def start_server(throttle_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> StartServer:
    """Start servers with the given semaphores; all of them end with the test."""
    # The clients would otherwise send what is meant for loopback through a configured proxy.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return throttle_server
