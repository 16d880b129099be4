"""The dashboards as code: `python -m monitoring.grafana` writes `dashboards/*.json`, which Grafana provisions.

One module for each; `panels` has what they are made of.
"""
