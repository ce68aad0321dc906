"""`throttle_client.testing` starts real servers, and leaves nothing behind."""

import gc
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from helpers import wait_until
from throttle_client import testing
from throttle_client.testing import Server, ServerDidNotStart, StartServer

TESTING = Path(testing.__file__)


def get(url: str) -> str:
    """Return what the server answers."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def post(url: str, body: object, method: str = "POST") -> Any:
    """Return what the server answers to this JSON."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def listens(url: str) -> bool:
    """Whether anybody accepts connections there."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run another interpreter to its end, with this environment and package."""
    environment = dict(os.environ)
    path = [str(TESTING.parents[1]), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    # Relative to the working directory of this process, which is not the other's.
    environment["THROTTLE_BIN"] = testing._find(environment.get("THROTTLE_BIN") or "throttle")
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_server_listens_once_it_is_started() -> None:
    """The first request is answered; nobody needs to wait."""
    server = Server({"A": 5})

    server.start()

    try:
        assert "5" == get(f"{server.url}/remainder?semaphore=A")
    finally:
        server.kill()


def test_server_has_no_url_before_it_is_started() -> None:
    """The port is chosen at the start."""
    server = Server({"A": 5})

    assert "" == server.url


def test_context_manager_starts_and_kills() -> None:
    """The server lives as long as the block."""
    with Server({"A": 1}) as server:
        alive = listens(server.url)

    assert alive
    assert not listens(server.url)


def test_server_keeps_its_port_when_it_is_started_again() -> None:
    """After a crash it is found under the same URL."""
    with Server({"A": 1}) as server:
        url = server.url
        server.kill()

        server.start()

        assert url == server.url
        assert "1" == get(f"{url}/remainder?semaphore=A")


def test_server_forgets_when_it_is_started_again() -> None:
    """A server that is killed loses its peers, as servers do."""
    with Server({"A": 5}) as server:
        post(f"{server.url}/new_peer", {"expires_in": "5m", "acquire": {"A": 2}})
        before = get(f"{server.url}/remainder?semaphore=A")

        server.kill()
        server.start()

        assert "3" == before
        assert "5" == get(f"{server.url}/remainder?semaphore=A")


def test_start_of_a_running_server_raises() -> None:
    """There is only one process at a time."""
    with Server({"A": 1}) as server, pytest.raises(RuntimeError, match="runs already"):
        server.start()


def test_server_that_died_by_itself_can_be_started_again() -> None:
    """A process that is gone is not in the way of the next one."""
    with Server({"A": 1}) as server:
        process = server._running()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

        server.start()

        assert "1" == get(f"{server.url}/remainder?semaphore=A")


def test_stop_returns_the_exit_code() -> None:
    """A server that is asked to shut down does so in good order."""
    with Server({"A": 1}) as server:
        exit_code = server.stop()

        assert 0 == exit_code
        assert not listens(server.url)


def test_kill_without_a_process_does_nothing() -> None:
    """Neither before the start, nor twice, nor after a stop."""
    server = Server({"A": 1})
    server.kill()
    server.start()
    server.stop()

    server.kill()
    server.kill()

    assert not listens(server.url)


@pytest.mark.parametrize("method", ["stop", "pause", "resume"])
def test_what_needs_a_process_raises_without_one(method: str) -> None:
    """Only `kill` is quiet."""
    server = Server({"A": 1})

    with pytest.raises(RuntimeError, match="the server does not run"):
        getattr(server, method)()


def test_paused_server_accepts_but_answers_only_when_it_is_resumed() -> None:
    """A pause looks like a network that swallows everything, and has an end."""
    with Server({"A": 5}) as server:
        server.pause()
        server.pause()
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=0.2) as probe:
            probe.sendall(b"GET /remainder?semaphore=A HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with pytest.raises(TimeoutError):
                probe.recv(1)

            server.resume()

            probe.settimeout(10)
            assert b"HTTP/1.1 200 OK" == probe.recv(15)


def test_paused_server_can_be_killed() -> None:
    """A process that stands still ends as well."""
    with Server({"A": 1}) as server:
        server.pause()

        server.kill()

        assert not listens(server.url)
        server.start()
        server.pause()


def test_semaphores_have_the_max_given() -> None:
    """A plain number is the max, a pair the max and the level."""
    with Server({"plain": 3, "pair": (4, 7)}) as server:
        remainders = [get(f"{server.url}/remainder?semaphore={name}") for name in ("plain", "pair")]

    assert ["3", "4"] == remainders


def test_semaphores_have_the_level_given() -> None:
    """Whoever holds a lock at level 0 may not take one at level 1."""
    with Server({"low": 1, "high": (1, 1)}) as server:
        peer = post(f"{server.url}/new_peer", {"expires_in": "5m", "acquire": {"low": 1}})

        with pytest.raises(urllib.error.HTTPError) as raised:
            post(f"{server.url}/peers/{peer}/high", 1, method="PUT")

        with raised.value as refusal:
            assert "Lock hierarchy violation" in refusal.read().decode()


@pytest.mark.parametrize("name", ["two words", 'a "quoted" \\ name', "量🚦", "new\nline", "\x7f"])
def test_any_name_can_be_given(name: str) -> None:
    """Names are spelled so that the configuration means them."""
    with Server({name: 3}) as server:
        assert "3" == get(f"{server.url}/remainder?{urlencode({'semaphore': name})}")


def test_extra_is_part_of_the_configuration() -> None:
    """Top-level keys and tables reach the server."""
    extra = 'litter_collection_interval = "1min"\n[limits]\nmax_expires_in = "1s"'

    with Server({"A": 1}, extra=extra) as server:
        with pytest.raises(urllib.error.HTTPError) as raised:
            post(f"{server.url}/new_peer", {"expires_in": "5m"})

        with raised.value as refusal:
            assert "above the maximum of 1s" in refusal.read().decode()


def test_bad_configuration_raises_what_the_server_said() -> None:
    """The message of the server names the key, and the error survives pickling."""
    server = Server({"A": 1}, extra="[limits]\nmax_pers = 1")

    with pytest.raises(ServerDidNotStart, match=r"limits\.max_pers.*max_peers") as raised:
        server.start()

    again = pickle.loads(pickle.dumps(raised.value))
    assert raised.value.stderr == again.stderr
    assert str(raised.value) == str(again)


def test_program_that_ends_silently_raises() -> None:
    """A program that is something else is noticed, too."""
    server = Server({"A": 1}, binary="true")

    with pytest.raises(ServerDidNotStart, match="it wrote nothing"):
        server.start()


def test_unknown_binary_raises_with_the_remedy(tmp_path: Path) -> None:
    """The error names the file and the variable to set."""
    missing = str(tmp_path / "missing")

    with pytest.raises(FileNotFoundError, match="THROTTLE_BIN") as raised:
        Server({"A": 1}, binary=missing)

    assert missing == raised.value.filename


def test_binary_is_looked_up_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable goes before PATH."""
    missing = str(tmp_path / "missing")
    monkeypatch.setenv("THROTTLE_BIN", missing)

    with pytest.raises(FileNotFoundError) as raised:
        Server({"A": 1})

    assert missing == raised.value.filename


def test_binary_is_looked_up_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, the program on PATH is taken."""
    binary = testing._find(os.environ.get("THROTTLE_BIN") or "throttle")
    (tmp_path / "throttle").symlink_to(binary)
    monkeypatch.delenv("THROTTLE_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with Server({"A": 1}) as server:
        assert "1" == get(f"{server.url}/remainder?semaphore=A")


def test_relative_binary_survives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is taken from where the server was made."""
    binary = Path(testing._find(os.environ.get("THROTTLE_BIN") or "throttle"))
    (tmp_path / "throttle").symlink_to(binary)
    monkeypatch.chdir(tmp_path)
    server = Server({"A": 1}, binary="./throttle")
    monkeypatch.chdir("/")

    with server:
        assert "1" == get(f"{server.url}/remainder?semaphore=A")


def test_log_level_of_the_environment_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server starts whatever the shell of the caller says about logs."""
    monkeypatch.setenv("THROTTLE_LOG", "no such level,,,=")

    with Server({"A": 1}) as server:
        assert listens(server.url)


def test_chatty_server_does_not_block() -> None:
    """What it writes is drained, however much that is."""
    with Server({"A": 1}, extra='[logging.stderr]\nlevel = "TRACE"') as server:
        for _ in range(300):
            get(f"{server.url}/remainder?semaphore=A")

        assert 0 == server.stop()


def test_server_leaves_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left once it is killed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    threads = set(threading.enumerate())

    with Server({"A": 1}):
        pass

    assert threads == set(threading.enumerate())
    assert [] == list(tmp_path.iterdir())


def test_forgotten_server_ends_when_it_is_collected() -> None:
    """Whoever drops a server without killing it leaks no process."""
    server = Server({"A": 1})
    server.start()
    url = server.url

    del server
    gc.collect()

    assert not listens(url)


def test_forgotten_server_ends_with_the_interpreter(tmp_path: Path) -> None:
    """A script that ends leaks no process."""
    script = """
        from throttle_client.testing import Server

        server = Server({"A": 1})
        server.start()
        print(server.url)
    """

    done = run_python("-c", textwrap.dedent(script), cwd=tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("http://127.0.0.1:")
    assert not listens(done.stdout.strip())


def test_module_needs_neither_pytest_nor_its_package(tmp_path: Path) -> None:
    """Loaded by its path, without any installed package, it has all but the fixture."""
    script = f"""
        import importlib.util

        spec = importlib.util.spec_from_file_location("alone", {str(TESTING)!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        print(hasattr(module, "Server"), hasattr(module, "throttle_server"))
    """

    done = run_python("-I", "-S", "-c", textwrap.dedent(script), cwd=tmp_path)

    assert ("True False\n", "") == (done.stdout, done.stderr)


def test_fixture_starts_several_servers(throttle_server: StartServer) -> None:
    """Each call starts one more, with semaphores and options of its own."""
    first = throttle_server({"A": 1})
    second = throttle_server({"A": 2}, extra="[limits]\nmax_peers = 1")

    remainders = [get(f"{server.url}/remainder?semaphore=A") for server in (first, second)]

    assert ["1", "2"] == remainders


def test_fixture_kills_its_servers_when_the_test_ends(tmp_path: Path) -> None:
    """A user's tests get the fixture as the documentation says, and leave nothing behind."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["throttle_client.testing"]\n')
    (tmp_path / "test_user.py").write_text(
        "def test_user(throttle_server):\n"
        "    server = throttle_server({'A': 1})\n"
        "    throttle_server({'A': 1}).pause()\n"
        "    print('URL', server.url)\n"
        "    assert False\n"
    )

    done = run_python("-m", "pytest", "-p", "no:cacheprovider", str(tmp_path), cwd=tmp_path)

    (url,) = (line[4:] for line in done.stdout.splitlines() if line.startswith("URL http"))
    assert "1 failed" in done.stdout
    wait_until(lambda: not listens(url))
