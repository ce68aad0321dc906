"""What is done to server, clients and network while clients take locks, one scenario a function.

Each gets a world in which nothing has happened yet, and leaves it when everything works again.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .checker import Promises
from .faults import (
    OTHER_FILES,
    WallClock,
    connections_of,
    full_log_host,
    get,
    no_more_files,
    read_pid,
)
from .world import LEASE, Ground, World

HOUR = 3600
# A server that keeps this grants nothing before all who held something have had time to come back.
WINDOW = f'recovery_window = "auto"\n[limits]\nmax_expires_in = "{int(LEASE * 1000)}ms"\n'
# All that may be open under a limit of files that is small.
FEW_CONNECTIONS = max(24, os.cpu_count() or 1)
LOGGING = '[logging.gelf]\nhost = "{host}"\nport = {port}\nlevel = "DEBUG"\n'


def nothing(world: World) -> None:
    """Nothing is broken."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(1.0, 2.0)


def server_killed(world: World) -> None:
    """The server is killed and started again, soon or after a while."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(1.0, 2.5)
        with world.fault("SIGKILL of the server"):
            world.server.kill()
            world.go_on(0.0, 0.8 * LEASE)
            world.restart()
    world.go_on(LEASE, LEASE)


def server_terminated(world: World) -> None:
    """The server is asked to shut down, and started again."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(1.0, 2.5)
        with world.fault("SIGTERM of the server"):
            world.server.stop()
            world.go_on(0.0, 0.3)
            world.restart()
    world.go_on(LEASE, LEASE)


def server_stopped(world: World) -> None:
    """The server stands still for longer than any lease."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(1.0, 2.0)
        with world.fault("SIGSTOP of the server"):
            world.server.pause()
            world.go_on(1.1 * LEASE, 1.6 * LEASE)
            world.server.resume()


def clients_stopped(world: World) -> None:
    """A client stands still for longer than its lease, and goes on as if nothing had happened."""
    world.start_workers(threads=3)
    for _ in world.rounds():
        world.go_on(0.3, 1.0)
        world.stop_worker(world.pick_worker(), world.lots.uniform(1.1, 1.6) * LEASE)


def clients_killed(world: World) -> None:
    """A client is killed, with some of its threads holding and some waiting; another one comes."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(0.7, 1.5)
        world.kill_worker(world.pick_worker())
        world.start_worker(is_async=world.lots.random() < 0.3)
    world.go_on(LEASE, LEASE)


def network_breaks(world: World) -> None:
    """Connections are cut, refused and half-closed, and answers dropped, several times a second."""
    world.start_workers()
    with _disturbed(world):
        for _ in world.rounds():
            world.go_on(1.0, 2.0)


def network_hangs(world: World) -> None:
    """Everything that is sent is swallowed, for less and for more than a lease; then it is slow."""
    assert world.proxy is not None
    world.start_workers()
    for _ in world.rounds():
        for share in (0.4, 1.3):
            world.go_on(0.5, 1.0)
            with world.fault("network that hangs"):
                world.proxy.hang()
                world.go_on(share * LEASE, share * LEASE)
                world.proxy.pass_on()
        with world.fault("network that is slow"):
            world.proxy.delay(world.lots.uniform(0.05, 0.25))
            world.go_on(1.0, 1.0)
            world.proxy.delay(0)


def few_files(world: World) -> None:
    """Idle connections take all that the limit of open files allows; who comes then must wait."""
    world.start_workers()
    for _ in world.rounds():
        world.go_on(0.5, 1.0)
        with (
            world.fault("limit of files used up"),
            connections_of(world.server.url, 2 * FEW_CONNECTIONS, request=get("/health")),
        ):
            # One that comes now finds everything taken.
            world.start_worker()
            world.go_on(1.1 * LEASE, 1.6 * LEASE)
        world.kill_worker(world.pick_worker())


def no_files(world: World) -> None:
    """The server can open nothing any more, for a while, and all connections are made anew."""
    assert world.proxy is not None
    world.start_workers()
    pid = read_pid(world.directory / "pid")
    for _ in world.rounds():
        world.go_on(0.5, 1.0)
        with world.fault("no descriptor left"), no_more_files(pid):
            world.proxy.cut()
            world.go_on(0.5 * LEASE, 1.3 * LEASE)


def slow_readers(world: World) -> None:
    """Many ask for what is long, or never ends, and read nothing of it."""
    world.start_workers()
    url = world.server.url
    for number, _ in enumerate(world.rounds()):
        with (
            world.fault("readers that read nothing"),
            connections_of(url, 5, request=get("/events")),
            # Answers that do not fit into what the system keeps for a connection.
            connections_of(url, 3, request=get("/openapi.json", 40)),
            connections_of(url, 3, request=get("/metrics", 20)),
            connections_of(url, 3, request=get("/peers/", 20)),
        ):
            # The first time is for the hurried; later ones last until the server cuts them off.
            world.go_on(*(2.0, 3.0) if number == 0 else (35.0, 45.0))


def clock_stepped(world: World) -> None:
    """The wall clock of the server is set an hour ahead, and two back."""
    clock = _clock_of(world)
    world.start_workers()
    for _ in world.rounds():
        for seconds in (HOUR, -HOUR, 0):
            world.go_on(0.5, 1.0)
            with world.fault("step of the wall clock"):
                clock.step_to(seconds)


def clock_set_back(world: World) -> None:
    """The wall clock is set back by an hour while the server is down: its tokens begin lower."""
    clock = _clock_of(world)
    world.start_workers()
    behind = 0
    for _ in world.rounds():
        world.go_on(1.0, 2.0)
        with world.fault("SIGKILL of the server, and step of the wall clock"):
            world.server.kill()
            behind += HOUR
            clock.step_to(-behind)
            world.restart(is_clock_ours=False)
        world.go_on(2 * LEASE, 2 * LEASE)


def everything(world: World) -> None:
    """The network breaks all the time, and server and clients are killed and stopped meanwhile."""
    world.start_workers()
    with _disturbed(world):
        for _ in world.rounds():
            world.go_on(0.5, 1.5)
            with world.fault("SIGKILL of the server"):
                world.server.kill()
                world.go_on(0.0, 0.5 * LEASE)
                world.restart()
            world.go_on(LEASE, 2 * LEASE)
            world.stop_worker(world.pick_worker(), world.lots.uniform(0.5, 1.3) * LEASE)
            world.kill_worker(world.pick_worker())
            world.start_worker()
            with world.fault("SIGSTOP of the server"):
                world.server.pause()
                world.go_on(0.2 * LEASE, 1.3 * LEASE)
                world.server.resume()


@contextmanager
def _disturbed(world: World) -> Iterator[None]:
    """Break the network in small ways, several times a second, meanwhile."""
    proxy = world.proxy
    assert proxy is not None
    is_over = threading.Event()
    lots = world.lots.__class__(world.lots.getrandbits(32))

    def refuse() -> None:
        proxy.refuse()
        is_over.wait(lots.uniform(0.05, 0.3))
        proxy.pass_on()

    def slow_down() -> None:
        proxy.delay(lots.uniform(0.02, 0.2))
        is_over.wait(lots.uniform(0.1, 0.4))
        proxy.delay(0)

    kinds: dict[str, Callable[[], None]] = {
        "connections cut": proxy.cut,
        "connections refused": refuse,
        "answers dropped": lambda: proxy.drop_answers(lots.randint(1, 4)),
        "requests half-closed": proxy.half_close_requests,
        "answers half-closed": proxy.half_close_answers,
        "answers late": slow_down,
    }

    def disturb() -> None:
        while not is_over.wait(lots.uniform(0.05, 0.3)):
            kind = lots.choice(list(kinds))
            with world.fault(kind):
                kinds[kind]()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        proxy.drop_answers(0)


def _clock_of(world: World) -> WallClock:
    assert world.ground.clock is not None
    return world.ground.clock


@contextmanager
def _level(directory: Path) -> Iterator[Ground]:
    """A server as it is without saying anything."""
    yield Ground()


@contextmanager
def _with_window(directory: Path) -> Iterator[Ground]:
    """A server with a recovery window."""
    yield Ground(extra=WINDOW)


@contextmanager
def _with_few_files(directory: Path) -> Iterator[Ground]:
    """A server that may open few files."""
    yield Ground(launcher=f"ulimit -n {OTHER_FILES + FEW_CONNECTIONS}")


@contextmanager
def _with_pid(directory: Path) -> Iterator[Ground]:
    """A server whose process is known."""
    yield Ground(launcher=f'echo $$ > "{directory}/pid"')


@contextmanager
def _with_full_log_host(directory: Path) -> Iterator[Ground]:
    """A server that logs everything, to somebody who takes nothing."""
    with full_log_host() as port:
        yield Ground(extra=LOGGING.format(host="127.0.0.1", port=port))


@contextmanager
def _with_unknown_log_host(directory: Path) -> Iterator[Ground]:
    """A server that logs everything, to nobody."""
    yield Ground(extra=LOGGING.format(host="nowhere.invalid", port=12201))


@contextmanager
def _with_clock(directory: Path) -> Iterator[Ground]:
    """A server whose wall clock can be stepped."""
    clock = WallClock(directory)
    yield Ground(launcher=clock.launcher, clock=clock)


@contextmanager
def _with_clock_and_window(directory: Path) -> Iterator[Ground]:
    """The same with a recovery window, so that nothing is over-committed."""
    clock = WallClock(directory)
    yield Ground(extra=WINDOW, launcher=clock.launcher, clock=clock)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, where, and what is promised then.

    Attributes:
        title: What it is called in the table.
        play: What happens.
        prepare: What the server is started with, in an empty directory.
        promises: What is promised.
        is_apart: Whether some of the clients reach the server by way of a proxy.
    """

    title: str
    play: Callable[[World], None]
    prepare: Callable[[Path], AbstractContextManager[Ground]] = _level
    promises: Promises = field(default_factory=Promises)
    is_apart: bool = False


_OVER = Promises(may_over_commit=True)

# What takes longest comes first.
SCENARIOS = {
    "everything": Scenario(
        "all of this together, recovery window", everything, _with_window, is_apart=True
    ),
    "set_back": Scenario(
        "wall clock set back while the server is down, recovery window",
        clock_set_back,
        _with_clock_and_window,
        Promises(tokens_grow=False),
    ),
    "window": Scenario("server killed, recovery window", server_killed, _with_window),
    "hangs": Scenario("network hangs, then is slow", network_hangs, is_apart=True),
    "killed": Scenario("server killed", server_killed, promises=_OVER),
    "terminated": Scenario("server asked to shut down", server_terminated, promises=_OVER),
    "terminated_window": Scenario(
        "server asked to shut down, recovery window", server_terminated, _with_window
    ),
    "stopped": Scenario("server stopped past all leases", server_stopped),
    "clients_killed": Scenario("clients killed", clients_killed),
    "clients_stopped": Scenario("clients stopped past their leases", clients_stopped),
    "breaks": Scenario(
        "connections cut, refused, half-closed; answers dropped, late",
        network_breaks,
        is_apart=True,
    ),
    "few_files": Scenario("limit of open files used up", few_files, _with_few_files),
    "no_files": Scenario("no descriptor left (EMFILE)", no_files, _with_pid, is_apart=True),
    "slow_readers": Scenario("readers that read nothing", slow_readers),
    "stepped": Scenario(
        "wall clock stepped by an hour, to and fro",
        clock_stepped,
        _with_clock,
        Promises(is_clock_steady=False),
    ),
    "full_log_host": Scenario("log host that takes nothing", nothing, _with_full_log_host),
    "unknown_log_host": Scenario("log host without address", nothing, _with_unknown_log_host),
    "nothing": Scenario("nothing", nothing),
}
