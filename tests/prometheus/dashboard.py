"""What is in the Grafana dashboard in `deploy/`."""

import json
import re
from typing import Any

from .conftest import DEPLOY

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
ANNOTATIONS = [one for one in DASHBOARD["annotations"]["list"] if "expr" in one]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

# What Grafana would put in place of its variables, were everything chosen.
_CHOSEN = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$instance": ".+",
    "$job": ".+",
    "$semaphore": ".*",
}


def expressions() -> dict[str, str]:
    """Return all expressions as Grafana would ask them, by where they stand."""
    of_panels = {
        f"{panel['title']} {panel['id']} {target['refId']}": filled_in(target["expr"])
        for panel in PANELS
        for target in panel["targets"]
    }
    return of_panels | {one["name"]: filled_in(one["expr"]) for one in ANNOTATIONS}


def label_queries() -> dict[str, tuple[str, str]]:
    """Return of which series and label each variable offers the values, by its name."""
    found = {}
    for variable in VARIABLES:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
            assert match, query
            found[variable["name"]] = (filled_in(match[1]), match[2])
    return found


def filled_in(expression: str) -> str:
    """Put something in place of all variables of Grafana."""
    for variable, value in _CHOSEN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"an unknown variable: {expression}"
    return expression
