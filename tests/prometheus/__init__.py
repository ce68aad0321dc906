"""Throttle as Prometheus and Grafana see it: rules, dashboard, and what is scraped."""
