"""Who runs jobs, and how busy they are."""

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
    """All workers, what they say to the gateways, and each that shows its own figures."""
    board = new_dashboard("Workers", uid="workers", says="Who runs jobs, and how busy they are.")
    board = row(
        board,
        "All workers",
        chart("Workers, by state", Query("distriqueue_workers", "{{state}}"), stacked=True),
        chart("Slots", Query("distriqueue_worker_slots", "{{state}}"), stacked=True),
        chart("Slots in use", Query("cluster:distriqueue_worker_slots_busy:ratio", "busy"), unit=SHARE, most=1),
        chart("Heartbeats recorded", rate("distriqueue_heartbeats_total", "instance"), unit=PER_SECOND),
        columns=4,
    )
    board = row(
        board,
        "What they say to the gateways",
        chart(
            "Claims, by answer",
            rate("distriqueue_claims_total", "answer"),
            unit=PER_SECOND,
            says="Some are always refused: a dispatch may come twice, and the claim sorts it out.",
        ),
        chart("Reports, by answer", rate("distriqueue_reports_total", "answer"), unit=PER_SECOND),
        chart("Attempts, by outcome", rate("distriqueue_attempts_total", "outcome"), unit=PER_SECOND),
        columns=3,
    )
    return row(
        board,
        "Each worker with a metrics port",
        chart("Slots in use", Query("distriqueue_handler_slots_busy", "{{instance}}"), unit=COUNT),
        chart(
            "Attempts, by type",
            Query("sum by (type) (rate(distriqueue_handler_seconds_count[$__rate_interval]))", "{{type}}"),
            unit=PER_SECOND,
        ),
        chart("Run time, by type", *quantiles("distriqueue_handler_seconds", "type", of=(0.95,)), unit=SECONDS),
        chart("Attempts, by outcome", rate("distriqueue_handler_attempts_total", "outcome"), unit=PER_SECOND),
        chart(
            "Reports that wait for an answer",
            Query("distriqueue_outbox_reports", "{{instance}}"),
            says="Grows while no gateway answers; nothing is lost.",
        ),
        chart(
            "Event loop late", Query('distriqueue_event_loop_lag_seconds{job="worker"}', "{{instance}}"), unit=SECONDS
        ),
        chart(
            "CPU",
            Query('rate(process_cpu_seconds_total{job="worker"}[$__rate_interval])', "{{instance}}"),
            unit=SHARE,
        ),
        chart("Memory", Query('process_resident_memory_bytes{job="worker"}', "{{instance}}"), unit=BYTES),
        columns=4,
    )
