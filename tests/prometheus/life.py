"""Some life in a server, so that each of its metrics has something to tell, and what that is."""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from .processes import call, until

# A name that needs escapes, in JSON, in PromQL and in the text format alike.
ODD = 'say "A\\B"'

CONFIGURATION = f"""
[limits]
max_waiters = 1

[semaphores]
mutex = 1
pool = 2
short = 1
paused = 1
{json.dumps(ODD)} = 1
"""

LONG = "10m"
SHORT = "50ms"
WAIT_SECONDS = 10.0

ROUTE = 'route="/peers/{id}/{semaphore}"'

# Queries, and the values that they have once `live` is through.
EXPECTED = {
    'throttle_acquired_total{semaphore="mutex"}': 2,
    'throttle_acquired_total{semaphore="short"}': 1,
    'throttle_released_total{semaphore="mutex"}': 1,
    'throttle_cancelled_total{semaphore="mutex"}': 1,
    'throttle_expired_total{semaphore="short"}': 1,
    'throttle_restored_total{semaphore="pool"}': 1,
    'throttle_count{semaphore="mutex"}': 1,
    'throttle_count{semaphore="pool"}': 3,
    'throttle_full_count{semaphore="pool"}': 2,
    f"throttle_full_count{{semaphore={json.dumps(ODD)}}}": 1,
    'throttle_over_commit{semaphore="pool"}': 1,
    'throttle_over_commit{semaphore="mutex"}': 0,
    'throttle_paused{semaphore="paused"}': 1,
    'throttle_paused{semaphore="mutex"}': 0,
    'throttle_pending{semaphore="mutex"}': 1,
    'throttle_longest_pending_sec{semaphore="mutex"} > bool 0': 1,
    'throttle_longest_pending_sec{semaphore="pool"}': 0,
    'throttle_wait_seconds_count{semaphore="mutex"}': 2,
    'throttle_wait_seconds_bucket{semaphore="mutex", le="+Inf"}': 2,
    'throttle_wait_seconds_sum{semaphore="mutex"} > bool 0': 1,
    'throttle_hold_seconds_count{semaphore="mutex"}': 1,
    'throttle_hold_seconds_bucket{semaphore="mutex", le="+Inf"}': 1,
    'throttle_hold_seconds_sum{semaphore="mutex"} > bool 0': 1,
    "throttle_peers": 6,
    "throttle_waiters": 1,
    "throttle_num_404": 1,
    "throttle_recovering": 0,
    'throttle_refused_total{reason="unknown_semaphore"}': 1,
    'throttle_refused_total{reason="too_many_waiters"}': 1,
    'throttle_log_dropped_total{sink="stderr"}': 0,
    'throttle_http_requests_total{method="POST", route="/new_peer", status="200"}': 6,
    f'throttle_http_requests_total{{method="PUT", {ROUTE}, status="202"}}': 1,
    f'throttle_http_requests_total{{method="PUT", {ROUTE}, status="503"}}': 1,
    'throttle_http_request_duration_seconds_count{method="POST", route="/new_peer"}': 6,
    'throttle_http_request_duration_seconds_sum{method="POST", route="/new_peer"} > bool 0': 1,
    'throttle_http_request_duration_seconds_bucket{method="POST", route="/new_peer", le="+Inf"}': 6,
    "throttle_config_last_reload_successful": 0,
    "throttle_build_info": 1,
    "throttle_start_time_seconds > bool 0": 1,
}

# The alerts that hold then, be it that they must hold for longer before they fire.
ALERTS = {
    "ThrottleOverCommit",
    "ThrottlePaused",
    "ThrottleRefusesAtLimit",
    "ThrottleReloadFailed",
}


class Life:
    """Whoever uses a server, in plain HTTP."""

    def __init__(self, address: str, configuration: Path) -> None:
        """Remember where the server listens, host and port, and which file it has read."""
        self.address = address
        self._url = f"http://{address}"
        self._configuration = configuration

    def live(self) -> None:
        """Let everything happen to some lock that can happen to one, and stay in some trouble."""
        self._call("GET", "/nowhere", expect=404)
        self._call("GET", "/remainder?semaphore=none", expect=400)
        self._wait_and_release()
        self._cancel()
        self._expire()
        restored = {"expires_in": LONG, "peer_id": 7, "acquired": {"pool": 3}}
        self._call("POST", "/restore", restored)
        self._call("PUT", "/semaphores/paused", {"paused": True})
        self._reach_a_limit()
        self._configuration.write_text("[semaphores]\nmutex = true\n")
        self._call("POST", "/reload", expect=409)

    def version(self) -> str:
        """Return the version of the server."""
        return self._call("GET", "/version")

    def _wait_and_release(self) -> None:
        first, second = self._new_peer(), self._new_peer()
        self._call("PUT", f"/peers/{first}/mutex", 1)
        granted = self._park(f"/peers/{second}/mutex?block_for=1m")
        self._call("DELETE", f"/peers/{first}/mutex")
        granted.join(WAIT_SECONDS)
        assert json.loads(self._call("GET", f"/peers/{second}/is_acquired"))

    def _cancel(self) -> None:
        peer = self._new_peer()
        self._call("PUT", f"/peers/{peer}/mutex", 1, expect=202)
        self._call("DELETE", f"/peers/{peer}/mutex")

    def _expire(self) -> None:
        self._call("POST", "/new_peer", {"expires_in": SHORT, "acquire": {"short": 1}})
        free = until(lambda: self._call("GET", "/remainder?semaphore=short") == "1", WAIT_SECONDS)
        assert free, "a lease that is over does not end"

    def _reach_a_limit(self) -> None:
        parked, refused = self._new_peer(), self._new_peer()
        self._park(f"/peers/{parked}/mutex?block_for=10m")
        self._call("PUT", f"/peers/{refused}/mutex?block_for=10m", 1, expect=503)

    def _new_peer(self) -> str:
        return self._call("POST", "/new_peer", {"expires_in": LONG})

    def _park(self, path: str) -> threading.Thread:
        """Send a request that waits for a lock, in the background, and return when it waits."""

        def ask() -> None:
            # It may be waiting still when the server ends.
            with suppress(OSError):
                call("PUT", self._url + path, 1, timeout=60)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        waits = until(lambda: "\nthrottle_waiters 1\n" in self._metrics(), WAIT_SECONDS)
        assert waits, "the request does not wait"
        return thread

    def _metrics(self) -> str:
        return self._call("GET", "/metrics")

    def _call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> str:
        status, text = call(method, self._url + path, body)
        assert expect == status, f"{method} {path}: {status} {text}"
        return text
