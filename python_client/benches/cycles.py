"""Lock cycles a second: this client beside others, interleaved in one run.

    THROTTLE_BIN=... python benches/cycles.py [--published PYTHON] [--upstream FILE]
        [--redis PYTHON] [--json FILE] [--quick]

A cycle takes a lock and gives it back at once: alone, and in contention with other threads of one
process for a semaphore of max 1. There, a *hand-off* is a cycle whose thread is not that of the
cycle before. What can be compared, each with servers of its own on loopback:

- `throttle`: this client and this server, always measured; the others are compared with it;
- `upstream client on throttle`: a published client, installed for `--published`, on this server;
- `upstream`: the same client on the server that was published with it, the binary `--upstream`;
- `redis-py`: its lock, installed for `--redis`, on a `redis-server` from PATH that keeps nothing.

What is not installed is skipped with a word on standard error. The servers are ended in any case.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from throttle_client import __version__
from throttle_client.testing import Server

TURNS = Path(__file__).with_name("turns.py")
START_SECONDS = 10
STOP_SECONDS = 10
# Above all that a round may need beside the time that it measures.
ROUND_SECONDS = 60
CROWD = 8
# By number of threads.
METRICS = {1: ["cycles_per_second"], CROWD: ["hand_offs_per_second", "cycles_per_second"]}
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
POLLING = """\
redis-py's lock polls: who finds it taken asks again after 0.1 s, its default. With 8 threads, most
of its cycles are of one that took the lock again before another asked. The other clients do not
poll: the server answers them when it is their turn."""

Rounds = list[float]


@dataclass(frozen=True)
class Pace:
    """How often and for how long is measured.

    Attributes:
        rounds: how often each contestant has its turn; odd, so that a median is one of them.
        seconds: what one round measures, for each number of threads.
    """

    rounds: int
    seconds: dict[int, float]


FULL = Pace(rounds=7, seconds={1: 0.8, CROWD: 1.2})
QUICK = Pace(rounds=3, seconds={1: 0.2, CROWD: 0.4})


@dataclass
class Contestant:
    """A client together with the server that it talks to.

    Attributes:
        name: what it is called in the results.
        versions: of the client and of the server.
        python: the interpreter for which the client is installed.
        url: of the server.
        rates: what was measured, in the order of rounds, by number of threads and metric.
    """

    name: str
    versions: str
    python: str
    url: str
    rates: dict[tuple[int, str], Rounds] = field(default_factory=dict)

    def measure(self, threads: int, seconds: float) -> None:
        """Run one round in a process of its own and keep its rates.

        Args:
            threads: how many take turns.
            seconds: for how long.

        Raises:
            subprocess.CalledProcessError: it failed; its standard error says why.
            subprocess.TimeoutExpired: it took far too long.
        """
        command = [self.python, str(TURNS), self.url, str(threads), str(seconds)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=ROUND_SECONDS
        )
        counts = json.loads(done.stdout)
        for metric in METRICS[threads]:
            rate = counts[metric.removesuffix("_per_second")] / seconds
            self.rates.setdefault((threads, metric), []).append(round(rate, 2))


def main() -> None:
    """Measure, print, and write what was asked for."""
    arguments = parsed()
    pace = QUICK if arguments.quick else FULL
    with ExitStack() as servers:
        contestants = invited(arguments, servers)
        for contestant in contestants:
            print(f"{contestant.name}: {contestant.versions}")
        for number in range(pace.rounds):
            for threads, seconds in pace.seconds.items():
                # Nobody always comes after the same one, nor first.
                first = number % len(contestants)
                for contestant in contestants[first:] + contestants[:first]:
                    contestant.measure(threads, seconds)
    report(contestants)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results(contestants), indent=2) + "\n", "utf-8")


def parsed() -> argparse.Namespace:
    """Read the command line; the module's docstring has what the options mean."""
    parser = argparse.ArgumentParser(description="Lock cycles a second of this client and others.")
    parser.add_argument("--published", metavar="PYTHON", help="has a published throttle-client")
    parser.add_argument("--upstream", metavar="FILE", help="the server published along with it")
    parser.add_argument("--redis", metavar="PYTHON", help="has redis-py")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write all rounds")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    return parser.parse_args()


def invited(arguments: argparse.Namespace, servers: ExitStack) -> list[Contestant]:
    """Start the servers, as far as they and their clients are installed.

    Args:
        arguments: say what to compare.
        servers: ends them.

    Returns:
        Ours first, then the others.
    """
    throttle = servers.enter_context(Server({"A": 1})).url
    server = f"server {answered_version(throttle)}"
    ours = f"client {__version__}, {server}"
    contestants = [Contestant("throttle", ours, sys.executable, throttle)]
    published = installed("throttle-client", arguments.published)
    if published is not None:
        versions = f"client {published}, {server}"
        name = "upstream client on throttle"
        contestants.append(Contestant(name, versions, arguments.published, throttle))
    upstream = program(arguments.upstream)
    if published is not None and upstream is not None:
        url = f"http://{servers.enter_context(serving(upstream_command(upstream)))}"
        versions = f"client {published}, server {answered_version(url)}"
        contestants.append(Contestant("upstream", versions, arguments.published, url))
    redis_py = installed("redis", arguments.redis)
    redis_server = program("redis-server" if redis_py is not None else None)
    if redis_server is not None:
        url = f"redis://{servers.enter_context(serving(redis_command(redis_server)))}"
        versions = f"redis-py {redis_py}, Redis {redis_version(redis_server)}"
        contestants.append(Contestant("redis-py", versions, arguments.redis, url))
    return contestants


def installed(package: str, python: str | None) -> str | None:
    """Ask an interpreter for the version of a package; None, and a word, if it has none."""
    if python is None:
        return None
    try:
        done = subprocess.run([python, "-c", VERSION, package], capture_output=True, text=True)
    except OSError as error:
        skip(f"{python}: {error.strerror}")
        return None
    if done.returncode != 0:
        skip(f"{python} does not have {package}")
        return None
    return done.stdout.strip()


def program(name: str | None) -> str | None:
    """Find a program by its path or on PATH; None, and a word, if there is none."""
    if name is None:
        return None
    found = shutil.which(name)
    if found is None:
        skip(f"there is no program {name}")
        return None
    # Servers run in folders of their own.
    return str(Path(found).absolute())


def skip(reason: str) -> None:
    """Say on standard error that something is not compared."""
    print(f"skipped: {reason}", file=sys.stderr)


def answered_version(url: str) -> str:
    """Ask a server of Throttle for its version."""
    with urllib.request.urlopen(f"{url}/version", timeout=START_SECONDS) as answer:
        return str(answer.read().decode().strip())


def redis_version(binary: str) -> str:
    """Ask the binary; it says `Redis server v=7.0.15 sha=...`."""
    words = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    return next((word[2:] for word in words.split() if word.startswith("v=")), "unknown")


Command = Callable[[int], list[str]]


def upstream_command(binary: str) -> Command:
    """Say how the published server is started on a port; its folder has `throttle.toml`."""
    return lambda port: [binary, "--address", "127.0.0.1", "--port", str(port)]


def redis_command(binary: str) -> Command:
    """Say how Redis is started on a port, without persistence."""
    nothing_kept = ["--save", "", "--appendonly", "no"]
    return lambda port: [binary, "--port", str(port), "--bind", "127.0.0.1", *nothing_kept]


@contextmanager
def serving(command: Command) -> Iterator[str]:
    """Run a server on a free port of loopback, in a temporary folder, until the block is left.

    Args:
        command: says how to start it on a port.

    Yields:
        Where it accepts connections, as `127.0.0.1:PORT`.

    Raises:
        RuntimeError: it does not within ten seconds, or ended.
    """
    with tempfile.TemporaryDirectory(prefix="throttle-bench-") as folder:
        Path(folder, "throttle.toml").write_text("[semaphores]\nA = 1\n", "utf-8")
        # Whoever is faster may take the port before the server does. Then that one ends, and says
        # why: these servers cannot be told to find a port, and report it.
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(port),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            if not is_listening(process, port):
                said = log.read_text("utf-8", "replace").strip()
                raise RuntimeError(f"{command(port)} does not listen: {said or 'it said nothing'}")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_listening(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a process accepts connections, ends, or has had enough time for it."""
    ends_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < ends_at:
        try:
            socket.create_connection(("127.0.0.1", port), START_SECONDS).close()
        except OSError:
            # There is no signal to wait for.
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def report(contestants: list[Contestant]) -> None:
    """Print a table for each metric; ratios are to the first contestant."""
    ours = contestants[0].rates
    for (threads, metric), base in ours.items():
        crowd = "1 thread" if threads == 1 else f"{threads} threads"
        print(f"\n{metric}, {crowd}, {len(base)} rounds")
        print(f"{'':28}{'median':>9}{'least':>9}{'most':>9}  ratio of medians  median of ratios")
        for contestant in contestants:
            rates = contestant.rates[threads, metric]
            median = statistics.median(rates)
            ratio = quotient(median, statistics.median(base))
            ratios = statistics.median(map(quotient, rates, base))
            print(
                f"{contestant.name:28}{median:9.1f}{min(rates):9.1f}{max(rates):9.1f}"
                f"{ratio:18.3f}{ratios:18.3f}"
            )
    if any(contestant.name == "redis-py" for contestant in contestants):
        print(f"\n{POLLING}")


def quotient(rate: float, base: float) -> float:
    """Divide; what is compared with nothing at all is infinitely better."""
    return rate / base if base else float("inf")


def results(contestants: list[Contestant]) -> dict[str, object]:
    """Spell all rounds for programs, and who took part."""
    return {
        "machine": {f"python, {each.name}": each.versions for each in contestants},
        "measurements": [
            {
                "scenario": "python",
                "server": contestant.name,
                "parameters": {"threads": str(threads)},
                "metric": metric,
                "rounds": rates,
            }
            for contestant in contestants
            for (threads, metric), rates in contestant.rates.items()
        ],
    }


if __name__ == "__main__":
    main()
