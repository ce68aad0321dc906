"""Requests that nobody thought of, made up from what the document says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from .server import running

HERE = Path(__file__).parent

CONFIGURATION = """
[semaphores]
A = 42
B = 1
database = { max = 10, level = 1 }

[semaphores.templates]
"*" = 3

[limits]
max_block_for = "5ms"
"""

# In the short form all requests are the same each time.
SHORT = ("--generation-deterministic", "--max-examples=10", "--phases=examples,coverage,fuzzing")

SOAK_SECONDS = 300

# What `schemathesis.toml` switches off: `/events`.
NOT_TESTED = 1


def _extent() -> tuple[str, ...]:
    """How much is sent: with `THROTTLE_SOAK` thousands of requests, from a seed that is printed."""
    if not os.environ.get("THROTTLE_SOAK"):
        return SHORT
    seed = os.environ.get("THROTTLE_SEED")
    return (f"--max-time={SOAK_SECONDS}", *([f"--seed={seed}"] if seed else []))


def test_requests_that_are_made_up_are_answered_as_the_document_says(tmp_path: Path) -> None:
    """Good ones are understood, bad ones refused, and no answer is another than described."""
    with running(tmp_path, CONFIGURATION) as server:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(HERE / "schemathesis.toml")),
                *("run", f"http://127.0.0.1:{server.port}/openapi.json"),
                *("--workers=2", "--continue-on-failure", "--no-color", *_extent()),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "checks.py")},
            capture_output=True,
            encoding="utf-8",
        )
        peer = server.send("POST", "/new_peer", json_body={"expires_in": "1m"})
        paths = server.send("GET", "/openapi.json").value["paths"]

    print(run.stdout)
    assert run.returncode == 0, run.stderr
    assert peer.status == 200, peer.answer
    # Nothing is found wrong where nothing is looked at, either.
    assert _number(r"Tested: ([0-9]+)", run.stdout) == sum(map(len, paths.values())) - NOT_TESTED
    generated = _number(r"([0-9]+) generated", run.stdout)
    seen = _number(r"Seen by the check of our own: ([0-9]+)", run.stdout)
    assert seen >= generated > 0


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, f"nothing like `{pattern}` is printed"
    return int(found[1])
