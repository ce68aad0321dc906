"""What may happen to a server: each operation, and each way in which it is answered."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .server import PROBLEM, Exchange, Server, running

LIMITED = """
[semaphores]
A = 1
B = 2
gone = 1
high = { max = 5, level = 1 }
wide = 9223372036854775807

[semaphores.templates]
"t-*" = 1

[limits]
max_peers = 30
max_semaphores = 6
max_waiters = 1
max_expires_in = "1h"
max_body = 1000
"""

RELOADED = (
    LIMITED.replace("gone = 1", "fresh = 1").replace("B = 2", "B = 3").replace("1000", "2000")
)

GUARDED = '[semaphores]\nA = 1\n[admin]\ntoken = "secret"\n'

RECOVERING = 'recovery_window = "auto"\n[semaphores]\nA = 1\n[limits]\nmax_expires_in = "1h"\n'

# Of its own, for it would also refuse what a busy machine is slow to send.
HASTY = '[limits]\nbody_timeout = "50ms"\n'

LEASE = {"expires_in": "10m"}
LOCK = "/peers/{id}/{semaphore}"
PART = "/dashboard/{file}"
PEER = "/peers/{id}"
SEMAPHORE = "/semaphores/{semaphore}"

# The operations that need a body.
WITH_BODY = (
    ("POST", "/new_peer", ()),
    ("PUT", PEER, (1,)),
    ("PUT", LOCK, (1, "A")),
    ("POST", "/restore", ()),
    ("PUT", SEMAPHORE, ("A",)),
)

ADMINISTRATIVE: tuple[tuple[str, str, tuple[object, ...], dict[str, Any]], ...] = (
    ("DELETE", PEER, (1,), {"query": {"revoke": "true"}}),
    ("PUT", SEMAPHORE, ("A",), {"json_body": {"max": 1}}),
    ("DELETE", SEMAPHORE, ("A",), {}),
    ("POST", "/reload", (), {}),
)

HISTORY_SECONDS = 20

Events = list[tuple[str, Any]]


def lived(directory: Path) -> tuple[list[Exchange], Events]:
    """Play it all, and return what was asked and answered, and which events there were."""
    with ExitStack() as servers:

        def start(name: str, configuration: str) -> Server:
            home = directory / name
            home.mkdir()
            return servers.enter_context(running(home, configuration))

        limited = start("limited", LIMITED)
        guarded = start("guarded", GUARDED)
        recovering = start("recovering", RECOVERING)
        hasty = start("hasty", HASTY)

        _look_around(limited)
        with limited.listening() as events:
            _use(limited)
            _administrate(limited)
            heard = events.until("reloaded")
        with limited.listening({"Last-Event-ID": "of-before"}) as events:
            heard += events.until("missed")
        _err(limited)
        _ask_in_vain(limited)
        _restore_in_vain(limited)
        _come_too_late(limited)
        _guard(limited, guarded)
        recovering.send("GET", "/health/granting")
        for method, pattern, names in WITH_BODY:
            hasty.dawdle(method, pattern, *names)
        _look_back(limited)
        record = limited.record + guarded.record + recovering.record + hasty.record
        return record, heard


def _look_around(server: Server) -> None:
    for path in (
        "/version",
        "/health",
        "/health/ready",
        "/health/granting",
        "/metrics",
        "/history",
        "/semaphores",
        "/openapi.json",
        "/",
        "/favicon.ico",
    ):
        assert server.send("GET", path).status == 200
    server.send("GET", "/", headers={"Accept": "text/html"})
    for file in ("dashboard.css", "dashboard.js"):
        assert server.send("GET", PART, file).status == 200
    server.refuse(404, "GET", PART, "none.js")


def _use(server: Server) -> None:
    """Peers that get what they ask for, or wait for it."""
    labels = {"host": "node7", "program": "etl"}
    about = {"name": "etl@node7", "labels": labels}
    asked = {"peer_id": 2**40, "acquire": {"B": 1, "A": 1}}
    first = server.send("POST", "/new_peer", json_body=LEASE | about | asked).value
    second = server.send("POST", "/new_peer", json_body=LEASE | {"acquire": {"B": 2}}).value
    third = server.send("POST", "/new_peer", json_body=LEASE).value
    server.send("PUT", PEER, third, json_body={"acquire": {"high": 2}})
    server.send("PUT", LOCK, third, "A", body="1", query={"expires_in": "5m", "block_for": "1ms"})
    server.send("PUT", LOCK, first, "A", body="1")
    server.send("PUT", PEER, second, json_body={"expires_in": "1s 500ms", "acquire": {"B": 2}})
    server.send("PUT", PEER, second, json_body=LEASE | {"active": {}})
    for peer in (first, second):
        server.send("GET", "/peers/{id}/is_acquired", peer)
        server.send("GET", PEER, peer)
    for semaphore in ("A", "B", "high", "gone"):
        server.send("GET", SEMAPHORE, semaphore)
    server.send("GET", SEMAPHORE, "B", query={"offset": "1", "limit": "1"})
    server.send("GET", "/peers/")
    server.send("GET", "/peers/", query={"limit": "1"})
    server.send("GET", "/semaphores")
    server.send("GET", "/remainder", query={"semaphore": "B"})
    server.send("DELETE", LOCK, first, "A")
    server.send("DELETE", LOCK, second, "B")
    server.send("DELETE", PEER, second)
    server.send("DELETE", PEER, second)
    server.send("POST", "/new_peer", json_body={"expires_in": "1ms", "acquire": {"B": 1}})
    restored: dict[str, Any] = {"peer_id": 42, "acquired": {"A": 2, "B": 1}, "tokens": {"A": 7}}
    server.send("POST", "/restore", json_body=LEASE | about | restored)
    server.send("GET", PEER, 42)
    server.send("GET", SEMAPHORE, "A")
    server.send("GET", SEMAPHORE, "B")
    server.send("POST", "/remove_expired")


def _administrate(server: Server) -> None:
    """Everything that administrators may do, from this machine."""
    server.send("PUT", SEMAPHORE, "B", json_body={"max": 5})
    server.send("PUT", SEMAPHORE, "B", json_body={"max": 7, "paused": True})
    server.send("PUT", SEMAPHORE, "high", json_body={"paused": True})
    server.send("DELETE", SEMAPHORE, "high")
    server.send("PUT", SEMAPHORE, "t-1", json_body={"paused": True})
    server.send("GET", "/semaphores")
    server.send("DELETE", SEMAPHORE, "t-1")
    server.send("DELETE", PEER, 42, query={"revoke": "true"})
    server.send("POST", "/new_peer", json_body=LEASE | {"acquire": {"gone": 1}})
    server.configuration.write_text(RELOADED, encoding="utf-8")
    server.send("POST", "/reload")
    server.send("GET", "/semaphores")
    server.configuration.write_text(RELOADED + "nonsense", encoding="utf-8")
    server.refuse(409, "POST", "/reload")
    server.configuration.write_text(LIMITED, encoding="utf-8")
    server.send("POST", "/reload")
    server.send("DELETE", SEMAPHORE, "B")


def _err(server: Server) -> None:
    """Requests that are wrong in themselves."""
    for method, pattern, names in WITH_BODY:
        server.refuse(415, method, pattern, *names, body="1", content_type="text/plain")
        server.refuse(413, method, pattern, *names, body=" " * 2000)
        server.refuse(400, method, pattern, *names, body="?")
    for method, pattern, names in (
        ("GET", PEER, ("x",)),
        ("GET", "/peers/{id}/is_acquired", ("x",)),
        ("GET", PEER, (1,)),
        ("DELETE", LOCK, (1, "A")),
        ("DELETE", PEER, ("x",)),
        ("GET", SEMAPHORE, ("none",)),
        ("DELETE", SEMAPHORE, ("none",)),
        ("GET", "/remainder", ()),
    ):
        server.refuse(400, method, pattern, *names)
    for method, pattern in (
        ("GET", "/peers/"),
        ("GET", "/events"),
        ("GET", "/remainder"),
        ("POST", "/remove_expired"),
        ("POST", "/reload"),
    ):
        server.refuse(400, method, pattern, query="unknown=1")
    server.refuse(400, "GET", "/remainder", query="semaphore=%FF")
    server.refuse(404, "GET", "/none")
    server.refuse(405, "PATCH", "/new_peer")


def _ask_in_vain(server: Server) -> None:
    """Asks that are understood, and refused all the same."""
    peer, other, third = (server.send("POST", "/new_peer", json_body=LEASE).value for _ in range(3))
    server.send("PUT", LOCK, peer, "B", body="1")
    server.refuse(400, "PUT", LOCK, peer, "B", body="0")
    server.refuse(400, "PUT", LOCK, peer, "B", body="1", query={"expires_in": "2h"})
    server.refuse(400, "PUT", PEER, peer, body='{"acquire": {"A": 1, "A": 1}}')
    server.refuse(409, "PUT", LOCK, peer, "B", body="2")
    server.refuse(409, "PUT", LOCK, peer, "A", body="2")
    server.refuse(409, "PUT", LOCK, peer, "high", body="1")
    server.refuse(409, "PUT", PEER, peer, json_body={"acquire": {"A": 1, "B": 1}})
    server.send("PUT", LOCK, other, "B", body="2")
    server.refuse(409, "PUT", LOCK, other, "A", body="1")
    server.refuse(409, "POST", "/new_peer", json_body=LEASE | {"peer_id": 2**40})
    tries = {"query": {"queue": "false"}, "json_body": LEASE | {"acquire": {"B": 2}}}
    server.refuse(409, "POST", "/new_peer", **tries)

    waiting: dict[str, Any] = {"query": {"block_for": "10m"}}
    with ThreadPoolExecutor() as threads:
        lock: dict[str, Any] = {"body": "2", "headers": {"Accept": PROBLEM}} | waiting
        parked = threads.submit(server.send, "PUT", LOCK, other, "B", **lock)
        _wait_for_a_waiter(server, parked)
        server.refuse(503, "PUT", LOCK, third, "B", body="2", **waiting)
        more = {"json_body": LEASE | {"acquire": {"B": 2}}} | waiting
        server.refuse(503, "PUT", PEER, third, **more)
        server.refuse(503, "POST", "/new_peer", **more)
        server.send("DELETE", LOCK, other, "B")
        assert parked.result().status == 409

    server.send("PUT", LOCK, other, "t-1", body="1")
    server.refuse(503, "PUT", LOCK, third, "t-2", body="1")
    server.refuse(503, "GET", SEMAPHORE, "t-2")
    server.refuse(503, "PUT", SEMAPHORE, "t-2", json_body={"max": 1})
    server.refuse(503, "DELETE", SEMAPHORE, "t-2")


def _wait_for_a_waiter(server: Server, parked: "Future[Exchange]") -> None:
    while not parked.done():
        if b"\nthrottle_waiters 1\n" in server.send("GET", "/metrics").answer:
            return
    raise AssertionError(parked.result())


def _restore_in_vain(server: Server) -> None:
    def refuse(status: int, peer: int, **rest: Any) -> None:
        body = LEASE | {"peer_id": peer, "acquired": {}} | rest
        server.refuse(status, "POST", "/restore", json_body=body)

    refuse(400, 50, acquired={"none": 1})
    refuse(400, 50, acquired={"A": 1}, tokens={"A": 2**63})
    refuse(400, 50, tokens={"A": 1})
    refuse(409, 42)
    refuse(409, 2**40, acquired={"high": 1})
    server.send("POST", "/restore", json_body=LEASE | {"peer_id": 60, "acquired": {"wide": 2**62}})
    refuse(409, 61, acquired={"wide": 2**62})


def _come_too_late(server: Server) -> None:
    """All places are taken."""
    while server.send("POST", "/new_peer", json_body=LEASE).status == 200:
        pass
    server.refuse(503, "POST", "/new_peer", json_body=LEASE)
    server.refuse(503, "POST", "/restore", json_body=LEASE | {"peer_id": 70, "acquired": {}})
    with ExitStack() as listeners:
        for _ in range(100):
            listeners.enter_context(server.listening())
        server.refuse(503, "GET", "/events")


def _guard(local: Server, guarded: Server) -> None:
    """Administrative routes for those who are no administrators, and with a token."""
    for method, pattern, names, rest in ADMINISTRATIVE:
        local.refuse(403, method, pattern, *names, headers={"Via": "1.1 proxy"}, **rest)
        guarded.refuse(401, method, pattern, *names, **rest)
        authorized = {"Authorization": "Bearer secret"}
        assert guarded.send(method, pattern, *names, headers=authorized, **rest).status == 200


def _look_back(server: Server) -> None:
    """Samples are taken every ten seconds; the first one was taken before anything happened."""
    end = time.monotonic() + HISTORY_SECONDS
    while not server.send("GET", "/history").value["semaphores"]:
        assert time.monotonic() < end, "no sample was taken"
        time.sleep(0.2)
