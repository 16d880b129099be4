"""What watches DistriQueue: Prometheus's files, and Grafana's dashboards as code."""
