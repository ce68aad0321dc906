"""All metrics of the server, and how to find their names in an expression of PromQL."""

import re
from typing import NamedTuple


class Metric(NamedTuple):
    """What Prometheus is told about a metric: its type, and the labels that each series has."""

    type: str
    labels: frozenset[str]


def _metric(type: str, *labels: str) -> Metric:
    return Metric(type, frozenset(labels))


METRICS = {
    "throttle_acquired_total": _metric("counter", "semaphore"),
    "throttle_build_info": _metric("gauge", "version"),
    "throttle_cancelled_total": _metric("counter", "semaphore"),
    "throttle_config_last_reload_successful": _metric("gauge"),
    "throttle_count": _metric("gauge", "semaphore"),
    "throttle_expired_total": _metric("counter", "semaphore"),
    "throttle_full_count": _metric("gauge", "semaphore"),
    "throttle_hold_seconds": _metric("histogram", "semaphore"),
    "throttle_http_request_duration_seconds": _metric("histogram", "method", "route"),
    "throttle_http_requests_total": _metric("counter", "method", "route", "status"),
    "throttle_log_dropped_total": _metric("counter", "sink"),
    "throttle_longest_pending_sec": _metric("gauge", "semaphore"),
    "throttle_num_404": _metric("counter"),
    "throttle_over_commit": _metric("gauge", "semaphore"),
    "throttle_paused": _metric("gauge", "semaphore"),
    "throttle_peers": _metric("gauge"),
    "throttle_pending": _metric("gauge", "semaphore"),
    "throttle_recovering": _metric("gauge"),
    "throttle_refused_total": _metric("counter", "reason"),
    "throttle_released_total": _metric("counter", "semaphore"),
    "throttle_restored_total": _metric("counter", "semaphore"),
    "throttle_start_time_seconds": _metric("gauge"),
    "throttle_wait_seconds": _metric("histogram", "semaphore"),
    "throttle_waiters": _metric("gauge"),
}

# What Prometheus itself says about whom it scrapes, and about rules.
OF_PROMETHEUS = frozenset({"ALERTS", "up"})

_OF_LOCKS = [0.001, 0.01, 0.1, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400]

BUCKETS = {
    "throttle_hold_seconds": _OF_LOCKS,
    "throttle_http_request_duration_seconds": [0.0001, 0.001, 0.01, 0.1, 1, 10, 60, 600, 3600],
    "throttle_wait_seconds": _OF_LOCKS,
}


def series_of(name: str) -> list[str]:
    """List under which names a metric is stored: those of a histogram are three."""
    if METRICS[name].type == "histogram":
        return [f"{name}_bucket", f"{name}_sum", f"{name}_count"]
    return [name]


SERIES = {series: name for name in METRICS for series in series_of(name)}

# What in an expression cannot be the name of a metric: strings, selectors, ranges, numbers, and
# lists of labels.
_NOT_A_NAME = re.compile(
    r'"(?:[^"\\]|\\.)*"'
    r"|\[[^\]]*\]"
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
    r"|\b\d\w*"
)
_OPERATORS = frozenset({"and", "bool", "offset", "or", "unless"})


def names_in(expression: str) -> set[str]:
    """Find the names of all series that an expression asks for."""
    rest = _NOT_A_NAME.sub(" ", expression)
    rest = re.sub(r"\{[^}]*\}", " ", rest)
    # What is followed by a parenthesis, or stands before a list of labels, calls a function.
    words = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", rest)
    functions = {"avg", "count", "max", "min", "sum"}
    return {word for word in words if word not in _OPERATORS | functions}
