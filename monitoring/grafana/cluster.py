"""Who leads, and what the leader's duties do."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.grafana.panels import (
    BYTES,
    PER_SECOND,
    SECONDS,
    SHARE,
    Query,
    chart,
    new_dashboard,
    quantiles,
    rate,
    row,
)


def dashboard() -> Dashboard:
    """The election, the duties, the processes."""
    board = new_dashboard("Cluster and duties", uid="cluster", says="Who leads, and what the leader's duties do.")
    board = row(
        board,
        "Election",
        chart("Leader", Query("distriqueue_is_leader", "{{instance}}"), stacked=True, says="One, at any time."),
        chart("Term", Query("distriqueue_raft_term", "{{instance}}")),
        chart(
            "Elections",
            Query("increase(distriqueue_raft_elections_total[10m])", "{{instance}} stood"),
            Query("increase(distriqueue_raft_elections_won_total[10m])", "{{instance}} won"),
            says="In ten minutes.",
        ),
        chart(
            "Silence between nodes",
            Query("distriqueue_raft_peer_lag_seconds", "{{instance}} of {{peer}}"),
            unit=SECONDS,
        ),
        chart(
            "Commits refused by the fence",
            Query("increase(distriqueue_fenced_commits_total[10m])", "{{instance}}"),
            says="In ten minutes.",
        ),
        chart(
            "Requests between nodes refused",
            Query("sum by (reason) (increase(distriqueue_raft_requests_refused_total[10m]))", "{{reason}}"),
            says="In ten minutes.",
        ),
        columns=3,
    )
    board = row(
        board,
        "Duties",
        chart(
            "Runs",
            Query("sum by (duty) (rate(distriqueue_duty_seconds_count[$__rate_interval]))", "{{duty}}"),
            unit=PER_SECOND,
        ),
        chart("Duration", *quantiles("distriqueue_duty_seconds", "duty", of=(0.95,)), unit=SECONDS),
        chart("Done", rate("distriqueue_duty_done_total", "duty"), unit=PER_SECOND, says="Jobs, workers or events."),
        chart("Failed runs", rate("distriqueue_duty_failures_total", "duty"), unit=PER_SECOND),
        columns=4,
    )
    return row(
        board,
        "Processes",
        chart(
            "Recordings of heartbeats", *quantiles("distriqueue_heartbeat_flush_seconds", of=(0.5, 0.99)), unit=SECONDS
        ),
        chart(
            "Connections to Postgres",
            Query(
                'sum by (instance, state) (distriqueue_store_connections{job="orchestrator"})', "{{instance}} {{state}}"
            ),
        ),
        chart(
            "Event loop late",
            Query('distriqueue_event_loop_lag_seconds{job="orchestrator"}', "{{instance}}"),
            unit=SECONDS,
        ),
        chart(
            "CPU",
            Query('rate(process_cpu_seconds_total{job="orchestrator"}[$__rate_interval])', "{{instance}}"),
            unit=SHARE,
        ),
        chart("Memory", Query('process_resident_memory_bytes{job="orchestrator"}', "{{instance}}"), unit=BYTES),
        chart("Broker up", Query('distriqueue_broker_up{job="orchestrator"}', "{{instance}}"), most=1),
        columns=3,
    )
