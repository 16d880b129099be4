"""What gateways are asked, how soon they answer, and what they wait for."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.grafana.panels import (
    BYTES,
    COUNT,
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
    """Requests, commits, dispatches, processes."""
    board = new_dashboard(
        "Gateway", uid="gateway", says="What gateways are asked, how soon they answer, what they wait for."
    )
    board = row(
        board,
        "Requests",
        chart(
            "Requests, by route",
            Query("sum by (route) (rate(distriqueue_request_seconds_count[$__rate_interval]))", "{{route}}"),
            unit=PER_SECOND,
        ),
        chart(
            "Not accepted",
            Query(
                'sum by (route, outcome) (rate(distriqueue_request_seconds_count{outcome!="accepted"}'
                "[$__rate_interval]))",
                "{{route}} {{outcome}}",
            ),
            unit=PER_SECOND,
            says="refused: 4xx. overloaded: 429. unavailable: 5xx.",
        ),
        chart("Request to answer", *quantiles("distriqueue_request_seconds", "route", of=(0.5, 0.99)), unit=SECONDS),
        chart("Clients of the event stream", Query("distriqueue_sse_clients", "{{instance}}")),
        columns=4,
    )
    board = row(
        board,
        "Commits",
        chart(
            "Jobs or reports that share a commit",
            Query(
                "sum by (commit) (rate(distriqueue_commit_batch_size_sum[$__rate_interval]))"
                " / sum by (commit) (rate(distriqueue_commit_batch_size_count[$__rate_interval]))",
                "{{commit}}",
            ),
            unit=COUNT,
            says="On average. It grows with the load: what arrives during a commit shares the next.",
        ),
        chart("Commit", *quantiles("distriqueue_commit_seconds", "commit", of=(0.5, 0.99)), unit=SECONDS),
        chart(
            "Connections to Postgres",
            Query('sum by (pool, state) (distriqueue_store_connections{job="gateway"})', "{{pool}} {{state}}"),
        ),
        columns=3,
    )
    board = row(
        board,
        "Dispatches",
        chart(
            "Given to the broker, by outcome",
            rate("distriqueue_publishes_total", "outcome"),
            unit=PER_SECOND,
            says="left: not confirmed; the leader's dispatcher sends it again.",
        ),
        chart(
            "Until the broker confirms", *quantiles("distriqueue_publish_confirm_seconds", of=(0.5, 0.99)), unit=SECONDS
        ),
        chart("Waiting to be given to it", Query("distriqueue_publish_queue", "{{instance}}")),
        chart("Broker up", Query('distriqueue_broker_up{job="gateway"}', "{{instance}}"), most=1),
        columns=4,
    )
    return row(
        board,
        "Processes",
        chart(
            "Event loop late", Query('distriqueue_event_loop_lag_seconds{job="gateway"}', "{{instance}}"), unit=SECONDS
        ),
        chart(
            "CPU",
            Query('rate(process_cpu_seconds_total{job="gateway"}[$__rate_interval])', "{{instance}}"),
            unit=SHARE,
        ),
        chart("Memory", Query('process_resident_memory_bytes{job="gateway"}', "{{instance}}"), unit=BYTES),
        columns=3,
    )
