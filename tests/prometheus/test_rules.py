"""The configuration and the alerting rules in `deploy/` are what promtool approves of."""

from .conftest import DEPLOY, Promtool


def test_configuration_and_the_rules_that_it_names_are_valid(promtool: Promtool) -> None:
    """Promtool accepts the configuration together with the rules."""
    promtool("check", "config", DEPLOY / "prometheus.yml")


def test_rules_have_nothing_that_promtool_would_warn_of(promtool: Promtool) -> None:
    """Promtool finds no rule twice, and all templates of annotations can be filled in."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "alerts.yml")


def test_alerts_fire_when_they_should_and_are_silent_otherwise(promtool: Promtool) -> None:
    """Promtool runs the unit tests of the rules without a failure."""
    promtool("test", "rules", DEPLOY / "alerts_test.yml")
