"""Is everything all right? And if not, where to look next."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.grafana.panels import (
    PER_SECOND,
    SECONDS,
    SHARE,
    Limit,
    Query,
    chart,
    new_dashboard,
    quantiles,
    rate,
    row,
    stat_panel,
)


def dashboard() -> Dashboard:
    """From top to bottom: what is wrong, how much work there is, how soon it is done, and who does it."""
    board = new_dashboard("Overview", uid="overview", says="Is everything all right?")
    board = row(
        board,
        "Now",
        stat_panel("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', limit=Limit(1, 1)),
        stat_panel("Leaders", "sum(distriqueue_is_leader)", limit=Limit(1, 1), says="One, at any time."),
        stat_panel("Workers", "cluster:distriqueue_workers_living:sum", limit=Limit(1, 1)),
        stat_panel("Slots in use", "cluster:distriqueue_worker_slots_busy:ratio", unit=SHARE, limit=Limit(0.8, 0.95)),
        stat_panel("Waiting", "cluster:distriqueue_jobs_waiting:sum"),
        stat_panel("Oldest waits", "max(distriqueue_queue_oldest_seconds)", unit=SECONDS, limit=Limit(60, 300)),
        stat_panel("Ended a second", "sum(cluster:distriqueue_jobs_finished:rate5m)", unit=PER_SECOND),
        stat_panel("Dead letters", "cluster:distriqueue_jobs_dead:sum"),
        columns=8,
    )
    board = row(
        board,
        "Work",
        chart(
            "Submitted and ended",
            Query("sum(rate(distriqueue_jobs_submitted_total[$__rate_interval]))", "submitted"),
            rate("distriqueue_jobs_finished_total", "status"),
            unit=PER_SECOND,
        ),
        chart(
            "Waiting, by lane",
            Query("sum by (lane) (distriqueue_queue_depth)", "{{lane}}"),
            stacked=True,
            says="Counted up to 10,000 pending and 10,000 queued jobs of a lane.",
        ),
        columns=2,
    )
    board = row(
        board,
        "Times",
        chart("From ready to start", *quantiles("distriqueue_job_wait_seconds"), unit=SECONDS),
        chart("From submission to end", *quantiles("distriqueue_job_total_seconds"), unit=SECONDS),
        chart(
            "Submission to answer",
            *quantiles("distriqueue_request_seconds", where='{route="submit"}'),
            unit=SECONDS,
        ),
        columns=3,
    )
    return row(
        board,
        "Objectives",
        chart(
            "Error budget burnt: submissions taken (99.9 %)",
            Query("slo:distriqueue_submit_errors:ratio_rate5m / 0.001", "over 5 m"),
            Query("slo:distriqueue_submit_errors:ratio_rate1h / 0.001", "over 1 h"),
            Query("slo:distriqueue_submit_errors:ratio_rate6h / 0.001", "over 6 h"),
            says="At 1 it is used up just when the month is.",
        ),
        chart(
            "Error budget burnt: jobs start within 10 s (99 %)",
            Query("slo:distriqueue_start_late:ratio_rate5m / 0.01", "over 5 m"),
            Query("slo:distriqueue_start_late:ratio_rate1h / 0.01", "over 1 h"),
            Query("slo:distriqueue_start_late:ratio_rate6h / 0.01", "over 6 h"),
            says="At 1 it is used up just when the month is.",
        ),
        columns=2,
    )
