"""A real Prometheus scrapes a real server, and answers for every metric, rule and panel."""

import pytest

from .conftest import DEPLOY
from .dashboard import expressions, label_queries
from .life import ALERTS, EXPECTED, ODD, Life
from .metrics import BUCKETS, METRICS, OF_PROMETHEUS, SERIES, names_in, series_of
from .processes import Prometheus, until

EVALUATED_SECONDS = 10.0

# What Prometheus adds to the labels of a series.
ADDED = {"__name__", "instance", "job", "le"}


@pytest.mark.parametrize("query", EXPECTED)
def test_prometheus_knows_what_happened(prometheus: Prometheus, query: str) -> None:
    """The answer to a query is what has happened in the server."""
    assert EXPECTED[query] == prometheus.value(query)


def test_every_series_is_expected_to_say_something() -> None:
    """The queries of this test name all series that there are."""
    assert SERIES.keys() == {name for query in EXPECTED for name in names_in(query)}


@pytest.mark.parametrize("name", METRICS)
def test_prometheus_is_told_type_and_help(prometheus: Prometheus, name: str) -> None:
    """A metric comes with its type, and with a text that says what it is."""
    (metadata,) = prometheus.get("metadata", metric=name)[name]

    assert METRICS[name].type == metadata["type"]
    assert metadata["help"]


def test_server_has_no_other_metrics(prometheus: Prometheus) -> None:
    """Each metric of the server is one of those that are tested here."""
    names = prometheus.get("metadata").keys()

    assert METRICS.keys() == {name for name in names if name.startswith("throttle_")}


@pytest.mark.parametrize("name", METRICS)
def test_series_have_their_labels_and_no_others(prometheus: Prometheus, name: str) -> None:
    """Each series of a metric has the labels that are promised."""
    for series in series_of(name):
        found = prometheus.query(series)
        assert found, series
        for one in found:
            assert METRICS[name].labels == one["metric"].keys() - ADDED, one


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets_are_those_promised(prometheus: Prometheus, name: str) -> None:
    """A histogram has the buckets that are promised, and the one for everything."""
    found = prometheus.query(f"count by (le) ({name}_bucket)")

    bounds = sorted(float(one["metric"]["le"]) for one in found)
    assert [*BUCKETS[name], float("inf")] == bounds


def test_build_info_has_the_version(prometheus: Prometheus, life: Life) -> None:
    """The version that is scraped is the one that the server answers."""
    (info,) = prometheus.query("throttle_build_info")

    assert life.version() == info["metric"]["version"]


def test_every_scrape_succeeded(prometheus: Prometheus) -> None:
    """Prometheus found nothing wrong with the text that it was sent."""
    (target,) = prometheus.get("targets")["activeTargets"]

    assert ("up", "") == (target["health"], target["lastError"])
    assert prometheus.value("min_over_time(up[1m])") == 1


def test_all_rules_are_healthy(prometheus: Prometheus) -> None:
    """Prometheus evaluates each alerting rule without an error."""
    groups = until(lambda: _evaluated(prometheus), EVALUATED_SECONDS)

    rules = [rule for group in groups for rule in group]
    assert rules
    assert all(("ok", "") == (rule["health"], rule.get("lastError", "")) for rule in rules), rules


def test_alerts_name_metrics_that_exist_and_say_what_to_do(prometheus: Prometheus) -> None:
    """Each alert asks for real metrics, has a severity and texts, and is in the README."""
    readme = (DEPLOY / "README.md").read_text()
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            assert names_in(rule["query"]) <= SERIES.keys() | OF_PROMETHEUS, rule["query"]
            assert rule["labels"]["severity"] in {"critical", "warning"}, rule["name"]
            assert {"summary", "description"} == rule["annotations"].keys(), rule["name"]
            assert f"`{rule['name']}`" in readme


def test_alerts_hold_for_what_is_wrong_and_for_nothing_else(prometheus: Prometheus) -> None:
    """Each trouble in which the server is left is seen by its alert, and no other is."""

    def names() -> set[str]:
        return {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}

    until(lambda: names() == ALERTS, EVALUATED_SECONDS)
    assert names() == ALERTS


@pytest.mark.parametrize("place", expressions())
def test_dashboard_shows_something(prometheus: Prometheus, place: str) -> None:
    """An expression of the dashboard is evaluated without an error, and finds something."""
    # A rate needs two scrapes.
    assert until(lambda: prometheus.query(expressions()[place]), EVALUATED_SECONDS)


@pytest.mark.parametrize("variable", label_queries())
def test_dashboard_offers_something(prometheus: Prometheus, variable: str) -> None:
    """A variable of the dashboard has values to choose from."""
    series, label = label_queries()[variable]

    values = prometheus.get(f"label/{label}/values", **{"match[]": series})

    assert values
    assert variable != "semaphore" or ODD in values


def _evaluated(prometheus: Prometheus) -> list[list[dict[str, str]]]:
    """Return the rules of all groups, or nothing while one has not been evaluated yet."""
    groups = [group["rules"] for group in prometheus.get("rules")["groups"]]
    is_pending = any(rule["health"] == "unknown" for rules in groups for rule in rules)
    return [] if is_pending else groups
