"""Lock cycles a second: this client beside others, interleaved in one run on one server.

    THROTTLE_BIN=... python benches/cycles.py NAME=PYTHON [NAME=PYTHON ...]

Each PYTHON is an interpreter that has some version of `throttle_client`. A cycle takes an
uncontended lock and gives it back. The first NAME is what the others are compared with.
"""

import statistics
import subprocess
import sys

from throttle_client.testing import Server

ROUNDS = 5
CYCLES = 300
CYCLE = """
import sys, time
from throttle_client import lock
url, cycles = sys.argv[1], int(sys.argv[2])
with lock(url, "A"):
    pass
began_at = time.perf_counter()
for _ in range(cycles):
    with lock(url, "A"):
        pass
print(cycles / (time.perf_counter() - began_at))
"""


def cycles_a_second(python: str, url: str) -> float:
    """Run one round in a process of its own."""
    command = [python, "-c", CYCLE, url, str(CYCLES)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure and print."""
    interpreters = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rates: dict[str, list[float]] = {name: [] for name in interpreters}
    with Server({"A": 1}) as server:
        for _ in range(ROUNDS):
            for name, python in interpreters.items():
                rates[name].append(cycles_a_second(python, server.url))
    base = rates[next(iter(interpreters))]
    print(f"{'client':12} {'cycles/s':>9} {'least':>7} {'most':>7}   ratio of medians")
    for name, measured in rates.items():
        median = statistics.median(measured)
        ratio = median / statistics.median(base)
        print(f"{name:12} {median:9.0f} {min(measured):7.0f} {max(measured):7.0f}   {ratio:.2f}")


if __name__ == "__main__":
    main()
