-- Statements of distriqueue/store/server.py: how Postgres itself fares.

-- name: database
SELECT d.xact_commit AS commits, d.xact_rollback AS rollbacks, d.deadlocks, d.blks_read AS blocks_read, d.blks_hit AS blocks_hit,
       d.temp_bytes, pg_database_size(d.datname) AS size_bytes, d.numbackends AS connections,
       current_setting('max_connections')::int AS max_connections,
       coalesce((SELECT extract(epoch FROM now() - min(a.xact_start))::float8 FROM pg_stat_activity a
                  WHERE a.datname = d.datname AND a.pid <> pg_backend_pid()), 0) AS oldest_transaction_s
  FROM pg_stat_database d
 WHERE d.datname = current_database()

-- name: tables
SELECT relname AS name, pg_total_relation_size(relid) AS size_bytes, n_live_tup AS live_rows, n_dead_tup AS dead_rows
  FROM pg_stat_user_tables
 WHERE relname = ANY ($1::text[])
 ORDER BY relname
