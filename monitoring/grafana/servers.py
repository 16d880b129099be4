"""What all else stands on: RabbitMQ, by its own figures, and Postgres, as the leader sees it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.grafana.panels import BYTES, PER_SECOND, SECONDS, SHARE, Query, chart, new_dashboard, rate, row


def dashboard() -> Dashboard:
    """RabbitMQ, then Postgres."""
    board = new_dashboard("RabbitMQ and Postgres", uid="servers", says="What all else stands on.")
    board = row(
        board,
        "RabbitMQ",
        chart(
            "Ready, by queue",
            Query('sum by (queue) (rabbitmq_detailed_queue_messages_ready{queue=~"job\\\\..*"})', "{{queue}}"),
            says="Messages, of one job or more.",
        ),
        chart(
            "Unacknowledged, by queue",
            Query('sum by (queue) (rabbitmq_detailed_queue_messages_unacked{queue=~"job\\\\..*"})', "{{queue}}"),
        ),
        chart(
            "Messages",
            Query("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "received"),
            Query("sum(rate(rabbitmq_global_messages_confirmed_total[$__rate_interval]))", "confirmed"),
            Query("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
            unit=PER_SECOND,
        ),
        chart(
            "Connections, channels, consumers",
            Query("sum(rabbitmq_connections)", "connections"),
            Query("sum(rabbitmq_channels)", "channels"),
            Query("sum(rabbitmq_consumers)", "consumers"),
        ),
        chart(
            "Memory",
            Query("rabbitmq_process_resident_memory_bytes", "{{instance}} used"),
            Query("rabbitmq_resident_memory_limit_bytes", "{{instance}} limit"),
            unit=BYTES,
            says="At its limit RabbitMQ takes nothing more, and jobs stay pending.",
        ),
        chart(
            "Disk left",
            Query("rabbitmq_disk_space_available_bytes", "{{instance}} left"),
            Query("rabbitmq_disk_space_available_limit_bytes", "{{instance}} limit"),
            unit=BYTES,
        ),
        columns=3,
    )
    return row(
        board,
        "Postgres",
        chart("Transactions", rate("distriqueue_postgres_transactions_total", "outcome"), unit=PER_SECOND),
        chart(
            "Blocks found in its cache",
            Query(
                'sum(rate(distriqueue_postgres_blocks_total{from="cache"}[$__rate_interval]))'
                " / sum(rate(distriqueue_postgres_blocks_total[$__rate_interval]))",
                "cache",
            ),
            unit=SHARE,
            most=1,
        ),
        chart(
            "Connections",
            Query("sum(distriqueue_postgres_connections)", "in use"),
            Query("sum(distriqueue_postgres_connections_limit)", "limit"),
        ),
        chart(
            "Oldest open transaction",
            Query("distriqueue_postgres_oldest_transaction_seconds", "age"),
            unit=SECONDS,
            says="Vacuum removes nothing that is younger, and the statistics wait for it.",
        ),
        chart("Size of the database", Query("distriqueue_postgres_size_bytes", "database"), unit=BYTES),
        chart("Size of tables with indexes", Query("distriqueue_postgres_table_bytes", "{{table}}"), unit=BYTES),
        chart("Rows for vacuum to remove", Query("distriqueue_postgres_table_dead_rows", "{{table}}")),
        chart(
            "Deadlocks, and bytes to temporary files",
            Query("sum(rate(distriqueue_postgres_deadlocks_total[$__rate_interval]))", "deadlocks"),
            Query("sum(rate(distriqueue_postgres_temp_bytes_total[$__rate_interval]))", "bytes"),
        ),
        columns=4,
    )
