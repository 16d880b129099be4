-- Statements of distriqueue/store/jobs.py.
--
-- `j.status || '' = …` rather than `j.status = …`: rows are found by id. Written plainly, the planner may prefer a partial
-- index on the status, whose every entry it then visits for each row of the batch: fast when empty, ruinous under backlog.

-- name: insert
-- Server-made ids: one that exists already was stored by an earlier try of this same batch whose answer was lost.
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload)
SELECT id, type, priority, CASE WHEN due_at > now() THEN 'scheduled' ELSE 'pending' END,
       max_retries, execution_timeout_s, due_at, batch_id, CAST(tags AS text[]), CAST(metadata AS json), CAST(payload AS json)
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::timestamptz[], $7::uuid[],
              $8::text[], $9::text[], $10::text[])
       AS r(id, type, priority, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload)
    ON CONFLICT (id) DO NOTHING
RETURNING id, created_at, status

-- name: insert_batches
INSERT INTO batches (id, name, jobs, sequential, stop_on_failure, max_concurrent, callback_url)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bool[], $5::bool[], $6::int[], $7::text[])
    ON CONFLICT (id) DO NOTHING

-- name: stored
SELECT id, created_at, status FROM jobs WHERE id = ANY ($1::uuid[])

-- name: mark_queued
UPDATE jobs j SET status = 'queued', queued_at = now()
  FROM unnest($1::uuid[], $2::int[]) AS r(id, attempt)
 WHERE j.id = r.id AND j.attempt = r.attempt AND j.status || '' = 'pending'
   AND (j.rate_slot IS NULL OR j.rate_slot <= now())  -- else its rate limit has put it back since: the broker has it no more
RETURNING j.id

-- name: cancel
UPDATE jobs j
   SET status = CASE WHEN j.status = 'running' THEN j.status ELSE 'cancelled' END,
       finished_at = CASE WHEN j.status = 'running' THEN NULL ELSE now() END,
       cancel_requested = true
  FROM unnest($1::uuid[]) AS r(id)
 WHERE j.id = r.id AND j.finished_at IS NULL
RETURNING j.id, j.status, j.followed

-- name: retry
-- With a concurrency key, or parents that have not ended, it waits as `blocked` first: admit says for how long.
-- $2: how many a second, after $3 others; NULL: all now. Left out is what has the unique key of an unfinished job; of
-- several with the same key the newest is taken.
WITH chosen AS (
    SELECT id, n
      FROM (SELECT j.id, r.n, j.unique_key, row_number() OVER (PARTITION BY j.unique_key ORDER BY r.n DESC) AS place
              FROM unnest($1::uuid[]) WITH ORDINALITY AS r(id, n) JOIN jobs j ON j.id = r.id
             WHERE j.status || '' IN ('failed', 'timeout', 'cancelled')) AS alike
     WHERE alike.unique_key IS NULL
        OR alike.place = 1
           AND NOT EXISTS (SELECT FROM jobs o WHERE o.unique_key = alike.unique_key AND o.finished_at IS NULL)
), retried AS (
    UPDATE jobs j
       SET status = CASE WHEN j.waits_for > 0 OR j.concurrency_key IS NOT NULL THEN 'blocked' ELSE 'pending' END,
           attempt = j.attempt + 1, failures = 0, losses = 0, cancel_requested = false,
           ready_at = now() + coalesce(make_interval(secs => ($3 + chosen.n - 1) / $2::float8), interval '0'),
           worker_id = NULL, progress = NULL, progress_message = NULL, queued_at = NULL, started_at = NULL, finished_at = NULL,
           expires_at = NULL, rate_slot = NULL, fingerprint = NULL
      FROM chosen JOIN jobs before ON before.id = chosen.id
     WHERE j.id = chosen.id AND j.status || '' IN ('failed', 'timeout', 'cancelled')
    RETURNING j.id, j.attempt, j.status, j.concurrency_key, j.batch_id, before.attempt AS ended_attempt,
              before.worker_id, before.started_at, before.finished_at, before.status AS outcome, before.error
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, finished_at, outcome, error)
    SELECT id, ended_attempt, worker_id, started_at, finished_at, outcome, error
      FROM retried WHERE started_at IS NOT NULL
        ON CONFLICT (job_id, attempt) DO NOTHING  -- cancelled while it waited for its retry: that attempt is there already
), resumed AS (
    -- A batch that has stopped at a failure would cancel them again at its next end: who retries lets it go on.
    UPDATE batches b SET stopped = false WHERE b.stopped AND b.id IN (SELECT batch_id FROM retried)
)
SELECT id, status, concurrency_key FROM retried
