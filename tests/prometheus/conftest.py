"""A real server, and a real Prometheus that scrapes it with the configuration of `deploy/`.

Prometheus and its promtool are looked for on PATH (`apt-get install prometheus` on Debian). Where
they are missing, the tests that need them are skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .life import CONFIGURATION, EXPECTED, Life
from .processes import Prometheus, running, until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
THROTTLE = os.environ.get("THROTTLE_BIN") or str(ROOT / "target" / "debug" / "throttle")

READY_SECONDS = 10.0
SCRAPED_SECONDS = 15.0

Promtool = Callable[..., None]


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; on Debian it is in the package `prometheus`")
    return found


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Run promtool, and fail with what it says if it finds fault."""
    program = _find("promtool")

    def run(*arguments: str | Path) -> None:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Start a server in which nothing has happened yet."""
    directory = tmp_path_factory.mktemp("throttle")
    configuration = directory / "throttle.toml"
    configuration.write_text(CONFIGURATION)
    # What the variable says in the shell of whoever runs the tests must not matter.
    environment = {key: value for key, value in os.environ.items() if key != "THROTTLE_LOG"}
    command = [THROTTLE, "--port", "0", "--configuration", str(configuration)]
    listening = r"listening on http://(\S+:\d+)"
    with running(command, environment, listening, directory / "log") as address:
        yield Life(address, configuration)


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """Find Prometheus, before anything is started for it."""
    return _find("prometheus")


@pytest.fixture(scope="session")
def prometheus(
    prometheus_program: str, life: Life, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Let Prometheus scrape a server, let something happen there, and wait until it is known."""
    directory = tmp_path_factory.mktemp("prometheus")
    shutil.copy(DEPLOY / "alerts.yml", directory)
    configuration = (DEPLOY / "prometheus.yml").read_text()
    for ours, the_tests in {"localhost:8000": life.address, "15s": "1s"}.items():
        assert ours in configuration
        configuration = configuration.replace(ours, the_tests)
    (directory / "prometheus.yml").write_text(configuration)
    command = [
        prometheus_program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    listening = r'"Listening on".* address=(\S+:\d+)'
    with running(command, os.environ, listening, directory / "log") as address:
        prometheus = Prometheus(address)
        assert until(prometheus.is_ready, READY_SECONDS), "Prometheus does not get ready"
        scraped = until(lambda: prometheus.value("up") == 1, READY_SECONDS)
        assert scraped, "Prometheus does not scrape"
        life.live()
        # Rates need two scrapes. What is not as expected by then, the tests will say.
        until(lambda: _is_all_known(prometheus), SCRAPED_SECONDS)
        yield prometheus


def _is_all_known(prometheus: Prometheus) -> bool:
    twice = 'count_over_time(throttle_refused_total{reason="too_many_waiters"}[1m]) > bool 1'
    expected = EXPECTED | {twice: 1}
    return all(prometheus.value(query) == value for query, value in expected.items())
