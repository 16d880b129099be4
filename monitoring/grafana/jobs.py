"""Where jobs are, and how long each part of their way takes, lane by lane."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.grafana.panels import PER_SECOND, SECONDS, Query, chart, new_dashboard, quantiles, rate, row


def dashboard() -> Dashboard:
    """Where they are, what comes and goes, how long it takes, what goes wrong."""
    board = new_dashboard(
        "Jobs and lanes", uid="jobs", says="Where jobs are, and how long each part of their way takes."
    )
    board = row(
        board,
        "Where they are",
        chart(
            "Unfinished jobs, by status",
            Query('sum by (status) (distriqueue_jobs{status!~"completed|failed|timeout|cancelled"})', "{{status}}"),
            stacked=True,
        ),
        chart(
            "Waiting for a dispatch, by lane",
            Query('distriqueue_queue_depth{status="pending"}', "{{lane}}"),
            says="Pending for longer than a second or two: nobody sends them, or their lane is paused.",
        ),
        chart("Waiting in the broker, by lane", Query('distriqueue_queue_depth{status="queued"}', "{{lane}}")),
        chart("Oldest, by lane", Query("distriqueue_queue_oldest_seconds", "{{lane}}"), unit=SECONDS),
        chart("Paused lanes", Query("distriqueue_lane_paused", "{{lane}}"), most=1),
        chart(
            "Ready in the broker",
            Query("distriqueue_broker_ready", "{{lane}}"),
            says="On RabbitMQ messages, of one job or more.",
        ),
        columns=3,
    )
    board = row(
        board,
        "What comes and goes",
        chart("Submitted, by lane", rate("distriqueue_jobs_submitted_total", "lane"), unit=PER_SECOND),
        chart("Ended, by lane", rate("distriqueue_jobs_finished_total", "lane"), unit=PER_SECOND),
        chart("Ended, by status", rate("distriqueue_jobs_finished_total", "status"), unit=PER_SECOND),
        columns=3,
    )
    board = row(
        board,
        "How long it takes",
        *(
            chart(title, *quantiles(metric, "lane", of=(0.5, 0.99)), unit=SECONDS)
            for title, metric in (
                ("From ready to start", "distriqueue_job_wait_seconds"),
                ("From start to end of an attempt", "distriqueue_job_run_seconds"),
                ("From submission to end", "distriqueue_job_total_seconds"),
            )
        ),
        columns=3,
    )
    return row(
        board,
        "What goes wrong",
        chart("Attempts, by outcome", rate("distriqueue_attempts_total", "outcome"), unit=PER_SECOND),
        chart("Retries, by lane", rate("distriqueue_retries_total", "lane"), unit=PER_SECOND),
        chart("Dead letters", Query('distriqueue_jobs{status=~"failed|timeout"}', "{{status}}")),
        chart("Webhook deliveries", rate("distriqueue_webhook_deliveries_total", "outcome"), unit=PER_SECOND),
        columns=4,
    )
