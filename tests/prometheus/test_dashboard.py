"""The Grafana dashboard in `deploy/` is well-formed, and asks only for what there is."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Promtool
from .dashboard import DASHBOARD, PANELS, VARIABLES, expressions, label_queries
from .metrics import OF_PROMETHEUS, SERIES, names_in

# Those of Grafana 10 and newer that are in use here, none of them deprecated.
PANEL_TYPES = {"heatmap", "row", "stat", "state-timeline", "table", "timeseries"}
UNITS = {"ops", "percentunit", "reqps", "s", "short"}
COLUMNS = 24


def test_promtool_accepts_every_expression(promtool: Promtool, tmp_path: Path) -> None:
    """Each expression is valid PromQL."""
    asked = [*expressions().values(), *(series for series, _ in label_queries().values())]
    rules = [
        {"record": f"dashboard:expression:{number}", "expr": expression}
        for number, expression in enumerate(asked)
    ]
    file = tmp_path / "rules.yml"
    # JSON is YAML, too.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    promtool("check", "rules", file)


def test_dashboard_asks_for_metrics_that_exist_only() -> None:
    """No expression and no variable names a metric that the server does not have."""
    asked = [*expressions().values(), *(series for series, _ in label_queries().values())]

    unknown = {name for expression in asked for name in names_in(expression)}
    unknown -= SERIES.keys() | OF_PROMETHEUS

    assert set() == unknown


def test_dashboard_shows_every_metric() -> None:
    """Each metric is asked for by some panel or annotation."""
    asked = {name for expression in expressions().values() for name in names_in(expression)}

    assert set(SERIES.values()) == {SERIES[name] for name in asked - OF_PROMETHEUS}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('a_total{b="c{}", d=~"e"} > bool 1e3', {"a_total"}),
        ('sum by (le, b) (rate(a_bucket{b="\\"c"}[5m]))', {"a_bucket"}),
        ("a unless on (b, c) d offset 5m or vector(0)", {"a", "d"}),
        ("a / ignoring(b) group_left (c) (d:e > 0)", {"a", "d:e"}),
        ("topk by (b) (3, a) and avg_over_time(c[1h:1m])", {"a", "c"}),
    ],
)
def test_names_are_found_in_expressions(expression: str, names: set[str]) -> None:
    """Names of metrics are told from functions, operators, labels and strings."""
    assert names == names_in(expression)


def test_every_panel_says_what_it_shows() -> None:
    """Each panel has a title and a description, and each target names its series."""
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        legends = [target.get("legendFormat") for target in panel["targets"]]
        # Single values and tables have their names from elsewhere.
        assert all(legends) or panel["type"] in {"stat", "table"}, panel["title"]


def test_panels_are_of_known_types_and_units() -> None:
    """No panel is of a deprecated type or has a unit that Grafana does not know."""
    assert {panel["type"] for panel in DASHBOARD["panels"]} == PANEL_TYPES
    assert set(_values_of("unit", PANELS)) <= UNITS


def test_ids_are_unique() -> None:
    """No two panels share an id, and no two targets of a panel a reference."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)), panel["title"]


def test_panels_lie_side_by_side() -> None:
    """All panels are within the grid, and none covers another."""
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
    for one, other in itertools.combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


def test_dashboard_can_be_imported_anywhere() -> None:
    """Nothing names a data source of some installation; whoever looks at it chooses one."""
    kinds = {variable["name"]: variable["type"] for variable in VARIABLES}
    sources = [*_values_of("datasource", PANELS), *_values_of("datasource", VARIABLES)]

    assert {"type": "prometheus", "uid": "${datasource}"} == sources[0]
    assert all(source == sources[0] for source in sources)
    assert all("datasource" in target for panel in PANELS for target in panel["targets"])
    assert kinds == {
        "datasource": "datasource",
        "job": "query",
        "instance": "query",
        "semaphore": "query",
    }
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 38


def _values_of(key: str, value: Any) -> Iterator[Any]:
    """Find everything that stands under a key, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        # Properties of overrides are spelled another way.
        if value.get("id") == key:
            yield value["value"]
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _values_of(key, inner)
