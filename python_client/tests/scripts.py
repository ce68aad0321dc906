"""Programs of their own, for tests of how an interpreter ends and of what it says meanwhile."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import throttle_client

# Development mode shows what is never closed, and any warning is an error.
STRICT = ("-X", "dev", "-W", "error")
SECONDS = 20


def start_script(
    source: str, *arguments: str, options: tuple[str, ...] = STRICT
) -> subprocess.Popen[str]:
    """Start a program with this environment and package, whose standard streams are pipes.

    Args:
        source: the program; indentation that all lines share is removed.
        arguments: its `sys.argv[1:]`.
        options: those of the interpreter.
    """
    path = [str(Path(throttle_client.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(source), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def read_line(script: subprocess.Popen[str]) -> str:
    """Read a line of what a program says on standard output, and wait for it."""
    assert script.stdout is not None
    return script.stdout.readline().strip()


def end_script(script: subprocess.Popen[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Wait for the end of a program.

    Returns:
        Its exit code, and what it wrote on standard output and on standard error.

    Raises:
        subprocess.TimeoutExpired: it still ran after that time, and was killed.
    """
    with script:
        try:
            stdout, stderr = script.communicate(timeout=seconds)
        except BaseException:
            script.kill()
            raise
    return script.returncode, stdout, stderr


def run_script(
    source: str, *arguments: str, options: tuple[str, ...] = STRICT
) -> tuple[int, str, str]:
    """Run a program to its end, see `start_script` and `end_script`."""
    return end_script(start_script(source, *arguments, options=options))
