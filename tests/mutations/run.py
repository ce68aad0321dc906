"""Puts one fault after the other into the server, and sees whether the simulation catches it.

The faults are in `mutations.toml`. Each is put into a copy of the tree, and the short form of the
simulation is run there; it must fail, and must do so because a promise was broken. Prints which one
it was, and after how many seeds. Exits with 1 if a fault was not caught.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "target" / "mutations"
TREE = FOLDER / "tree"
# What the simulation is built from. Other members of the workspace must be there as well.
PARTS = ["Cargo.toml", "Cargo.lock", "src", "tests", "bench", "fuzz", "README.md", "throttle.toml"]
COMMAND = ["cargo", "test", "--quiet", "--test", "simulation", "promises"]
# A server that hangs is none that was caught.
LONGEST_SECONDS = 900
BROKEN = re.compile(r"seed (\d+) broke a promise")
PROMISE = re.compile(r"^Broken: (.+)$", re.MULTILINE)


def copy_tree() -> None:
    """Lay out the tree; files that are as they were keep their times, for cargo looks at those."""
    for part in (ROOT / part for part in PARTS if (ROOT / part).exists()):
        files = [part] if part.is_file() else [file for file in part.rglob("*") if file.is_file()]
        for file in files:
            copy = TREE / file.relative_to(ROOT)
            if not copy.exists() or copy.read_bytes() != file.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def simulate() -> str:
    """Run the short form, and return what it prints."""
    environment = os.environ | {
        # Not the project's own, where others would find a server with a fault in it.
        "CARGO_TARGET_DIR": str(FOLDER / "target"),
        "RUST_BACKTRACE": "0",
        # Which promise it was is enough; nobody reads its history.
        "THROTTLE_SIMULATION_SHORTEN_SECONDS": "0",
    }
    with subprocess.Popen(
        COMMAND,
        cwd=TREE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            output, _ = running.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            return ""
    return "" if running.returncode == 0 else output


def main() -> int:
    """Try all faults, or those whose descriptions contain a given text."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    mutations = tomllib.loads((ROOT / "tests" / "mutations" / "mutations.toml").read_text())
    missed = 0
    copy_tree()
    print("| fault | caught by | seed |\n| --- | --- | --- |", flush=True)
    for mutation in mutations["mutation"]:
        fault, file = mutation["fault"], TREE / mutation["file"]
        if wanted not in fault:
            continue
        text = file.read_text()
        if text.count(mutation["before"]) != 1:
            sys.exit(f"{fault}: its text stands {text.count(mutation['before'])} times in {file}")
        file.write_text(text.replace(mutation["before"], mutation["after"]))
        begun = time.monotonic()
        try:
            output = simulate()
        finally:
            file.write_text(text)
        broken, promise = BROKEN.search(output), PROMISE.search(output)
        if broken and promise:
            print(f"| {fault} | {promise[1]} | {broken[1]} |", flush=True)
        elif output:
            sys.exit(f"{fault}: the simulation did not run\n{output}")
        else:
            missed += 1
            took = time.monotonic() - begun
            print(f"| {fault} | **nothing**, in {took:.0f} s | |", flush=True)
    print(f"\n{missed} faults were missed" if missed else "\nall faults were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
