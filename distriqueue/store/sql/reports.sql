-- Statements of distriqueue/store/reports.py: a batch of workers' reports. See jobs.sql on `j.status || ''`.

-- name: throttle
SELECT throttle($1::uuid[], $2::int[]) AS n

-- name: parents
-- Of claimed jobs that have waited for some; a large result is left out.
SELECT d.child_id, p.id, p.type, p.status, p.error,
       CASE WHEN pg_column_size(p.result) <= $2 THEN p.result END AS result, pg_column_size(p.result) > $2 AS omitted
  FROM dependencies d JOIN jobs p ON p.id = d.parent_id
 WHERE d.child_id = ANY ($1::uuid[])
 ORDER BY d.child_id, d.place

-- name: put_back
-- While lanes are paused, before the claims: what would go through one is pending again, for the broker holds it no more.
-- Of several claims of one attempt, all are returned.
WITH claim AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[]) WITH ORDINALITY AS r(job_id, attempt, worker_id, n)
), back AS (
    UPDATE jobs j SET status = 'pending', queued_at = NULL
      FROM (SELECT DISTINCT job_id, attempt FROM claim) AS r
      JOIN jobs waiting ON waiting.id = r.job_id
      LEFT JOIN routing_rules rule ON rule.type = waiting.type
     WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.status || '' IN ('pending', 'queued')
       AND coalesce(rule.lane, waiting.priority) = ANY ($4::text[])
    RETURNING j.id, j.attempt
)
SELECT claim.n FROM claim JOIN back ON back.id = claim.job_id AND back.attempt = claim.attempt

-- name: progress
UPDATE jobs j SET progress = coalesce(r.progress, j.progress), progress_message = coalesce(r.message, j.progress_message)
  FROM unnest($1::uuid[], $2::int[], $3::text[], $4::float4[], $5::text[]) WITH ORDINALITY
       AS r(job_id, attempt, worker_id, progress, message, n)
 WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.worker_id = r.worker_id AND j.status || '' = 'running'
RETURNING r.n

-- name: checkpoint
-- From where the next attempt can go on. Before an end is taken: what does not run any more leaves none.
UPDATE jobs j SET checkpoint = CAST(r.checkpoint AS json)
  FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS r(job_id, attempt, worker_id, checkpoint)
 WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.worker_id = r.worker_id AND j.status || '' = 'running'

-- name: take
-- Claims and ends. Without a transaction around it ($12: alone), one statement is one round trip and one commit; what has
-- followers or parents, or a checkpoint to go on from, is then left, for more is to be done.
WITH claimed AS (
    UPDATE jobs j
       SET status = 'running', worker_id = r.worker_id, started_at = now(), progress = NULL, progress_message = NULL,
           expires_at = NULL, rate_slot = NULL
      FROM unnest($1::uuid[], $2::int[], $3::text[]) WITH ORDINALITY AS r(job_id, attempt, worker_id, n)
     WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.status || '' IN ('pending', 'queued')
       AND (j.expires_at IS NULL OR j.expires_at > now())
       AND NOT ($12 AND (j.has_parents OR j.checkpoint IS NOT NULL))
    RETURNING r.n, j.id, j.has_parents, j.checkpoint
), ended AS (
    UPDATE jobs j
       SET status      = CASE WHEN retries(r.outcome, r.retryable, j.failures, j.max_retries, j.cancel_requested)
                              THEN 'retrying' ELSE r.outcome END,
           finished_at = CASE WHEN retries(r.outcome, r.retryable, j.failures, j.max_retries, j.cancel_requested)
                              THEN NULL ELSE now() END,
           due_at      = CASE WHEN retries(r.outcome, r.retryable, j.failures, j.max_retries, j.cancel_requested)
                              THEN now() + coalesce(make_interval(secs => r.retry_after_s), retry_delay(j.failures, j.retry_policy))
                              ELSE j.due_at END,
           failures    = j.failures + (r.outcome IN ('failed', 'timeout'))::int,
           progress    = CASE WHEN r.outcome = 'completed' THEN 100 ELSE j.progress END,
           result      = CAST(r.result AS json),
           error       = CAST(r.error AS json),
           checkpoint  = CASE WHEN r.outcome <> 'completed' THEN j.checkpoint END,
           fingerprint = CASE WHEN r.outcome IN ('failed', 'timeout')
                               AND NOT retries(r.outcome, r.retryable, j.failures, j.max_retries, j.cancel_requested)
                              THEN fingerprint(j.type, CAST(r.error AS json)) END
      FROM unnest($4::uuid[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bool[], $11::float8[])
           WITH ORDINALITY AS r(job_id, attempt, worker_id, outcome, result, error, retryable, retry_after_s, n)
     WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.worker_id = r.worker_id AND j.status || '' = 'running'
       AND NOT ($12 AND j.followed)
    RETURNING r.n, r.outcome, j.id, j.attempt, j.status, j.worker_id, j.started_at, j.error, j.followed
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, outcome, error)
    SELECT id, attempt, worker_id, started_at, outcome, error FROM ended WHERE status = 'retrying'
)
SELECT 'claim' AS kind, n, id, has_parents, false AS followed, checkpoint FROM claimed
 UNION ALL
SELECT 'end', n, id, false, followed, NULL FROM ended

-- name: release
WITH released AS (
    UPDATE jobs j
       SET status = CASE WHEN j.cancel_requested THEN 'cancelled' ELSE 'pending' END,
           finished_at = CASE WHEN j.cancel_requested THEN now() END,
           attempt = j.attempt + (NOT j.cancel_requested)::int, ready_at = now(),
           worker_id = NULL, progress = NULL, progress_message = NULL, queued_at = NULL, started_at = NULL
      FROM unnest($1::uuid[], $2::int[], $3::text[]) WITH ORDINALITY AS r(job_id, attempt, worker_id, n)
      JOIN jobs before ON before.id = r.job_id
     WHERE j.id = r.job_id AND j.attempt = r.attempt AND j.worker_id = r.worker_id AND j.status || '' = 'running'
    RETURNING r.n, r.worker_id, r.attempt AS released_attempt, before.started_at AS ran_from, j.id, j.followed
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, outcome)
    SELECT id, released_attempt, worker_id, ran_from, 'released' FROM released
)
SELECT n, id, followed FROM released

-- name: judge
-- For what matched no row above: where the job is now, and how this very attempt ended before.
SELECT r.n, j.status, j.attempt, j.worker_id, j.expires_at <= now() AS expired, j.has_parents, j.checkpoint,
       a.outcome, a.worker_id AS ended_on
  FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS r(job_id, attempt, n)
  LEFT JOIN jobs j ON j.id = r.job_id
  LEFT JOIN attempts a ON a.job_id = r.job_id AND a.attempt = r.attempt
