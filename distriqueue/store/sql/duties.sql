-- Statements of distriqueue/store/duties.py: what the leader does to jobs. See jobs.sql on `j.status || ''`.
--
-- What is to be changed is locked first, and what others have locked is passed over: a duty never waits for a gateway.

-- name: stranded
-- Lane by lane, the most urgent first, each from where the last batch left it: a backlog of one lane does not delay
-- the others, and what a broker refuses is not offered to it again before all else was. Jobs of paused lanes wait.
--
-- Where a rule leads into a paused lane, or out of one, jobs have to be looked at one by one: at most $6 of a lane, for
-- what waits may be a huge backlog. `goes_on` marks the last that was looked at, where there may be more behind it.
WITH routing AS MATERIALIZED (
    SELECT ARRAY (SELECT lane FROM lane_controls WHERE paused) AS paused
), lane AS MATERIALIZED (
    SELECT one.*, one.priority = ANY (routing.paused) AS rests, exceptions.types
      FROM routing
     CROSS JOIN unnest($1::text[], $2::timestamptz[], $3::uuid[]) WITH ORDINALITY AS one(priority, ready_at, id, n)
     CROSS JOIN LATERAL (
           SELECT ARRAY (SELECT rule.type FROM routing_rules rule
                          WHERE (rule.lane = ANY (routing.paused)) <> (one.priority = ANY (routing.paused))) AS types
           ) AS exceptions
     WHERE NOT (one.priority = ANY (routing.paused) AND exceptions.types = '{}')
), seen AS MATERIALIZED (
    SELECT lane.n, j.id, j.ready_at, (j.type = ANY (lane.types)) = lane.rests AS is_open,
           lane.types <> '{}' AND row_number() OVER (PARTITION BY lane.n ORDER BY j.ready_at, j.id) = $6::bigint AS goes_on
      FROM lane
     CROSS JOIN LATERAL (
           SELECT id, ready_at, type FROM jobs
            WHERE jobs.status = 'pending' AND jobs.priority = lane.priority
              AND (jobs.ready_at, jobs.id) > (lane.ready_at, lane.id)
              AND jobs.ready_at < now() - make_interval(secs => $4)
            ORDER BY jobs.ready_at, jobs.id
            LIMIT CASE WHEN lane.types = '{}' THEN $5::bigint ELSE $6::bigint END) AS j
), taken AS MATERIALIZED (
    SELECT * FROM seen WHERE is_open OR goes_on ORDER BY n, ready_at, id LIMIT $5::bigint
)
SELECT j.id, j.attempt, j.type, j.priority, j.payload, j.execution_timeout_s, j.trace, j.ready_at, taken.is_open, taken.goes_on
  FROM taken JOIN jobs j ON j.id = taken.id
 ORDER BY taken.n, taken.ready_at, taken.id

-- name: queued_before
-- The moment $1 seconds ago, if a job has been queued since before it.
SELECT before.at
  FROM (SELECT now() - make_interval(secs => $1) AS at) AS before
 WHERE EXISTS (SELECT 1
                 FROM unnest($2::text[]) AS lane (priority)
                CROSS JOIN LATERAL (SELECT 1 FROM jobs
                                     WHERE jobs.status = 'queued' AND jobs.priority = lane.priority
                                       AND jobs.queued_at < before.at
                                     LIMIT 1) AS one)

-- name: take_back
-- Queued since before $2, in one of the lanes $1 (by rule, or by priority); the most urgent and longest queued first.
WITH routing AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM routing_rules) AS rules
), lost AS (
    SELECT one.id, one.queued_at, lane.n
      FROM routing
     CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS lane (priority, n)
     CROSS JOIN LATERAL (
           SELECT id, queued_at FROM jobs
            WHERE jobs.status = 'queued' AND jobs.priority = lane.priority AND jobs.queued_at < $2::timestamptz
              AND (NOT routing.rules
                   OR coalesce((SELECT rule.lane FROM routing_rules rule WHERE rule.type = jobs.type), jobs.priority)
                      = ANY ($1::text[]))
            ORDER BY jobs.queued_at
            LIMIT $4
              FOR UPDATE SKIP LOCKED) AS one
     WHERE routing.rules OR lane.priority = ANY ($1)
     ORDER BY lane.n, one.queued_at
     LIMIT $4
)
UPDATE jobs j SET status = 'pending', queued_at = NULL
  FROM lost
 WHERE j.id = lost.id
RETURNING j.id, j.attempt, j.type, j.priority, j.payload, j.execution_timeout_s, j.trace, lost.n, lost.queued_at

-- name: next_due
SELECT CAST(extract(epoch FROM min(due_at) - now()) AS float8) AS in_s
  FROM jobs
 WHERE status IN ('scheduled', 'retrying')

-- name: promote
WITH due AS (
    SELECT id FROM jobs
     WHERE status IN ('scheduled', 'retrying') AND due_at <= now()
     ORDER BY due_at
     LIMIT $1
       FOR UPDATE SKIP LOCKED
)
UPDATE jobs j
   SET status = CASE WHEN j.concurrency_key IS NULL THEN 'pending' ELSE 'blocked' END,
       attempt = j.attempt + (j.status = 'retrying')::int, ready_at = now(),
       worker_id = NULL, progress = NULL, progress_message = NULL, queued_at = NULL, started_at = NULL
  FROM due
 WHERE j.id = due.id
RETURNING j.id, j.attempt, j.type, j.priority, j.payload, j.execution_timeout_s, j.trace, j.concurrency_key

-- name: expire
WITH late AS (
    SELECT id FROM jobs
     WHERE expires_at <= now() AND finished_at IS NULL
     ORDER BY expires_at
     LIMIT $1
       FOR UPDATE SKIP LOCKED
)
UPDATE jobs j
   SET status = 'timeout', finished_at = now(),
       error = json_build_object('type', 'NotStarted', 'message', format(
                   'was still %s at %s, when it was to have started', j.status,
                   to_char(j.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
       fingerprint = fingerprint(j.type, json_build_object('type', 'NotStarted', 'message', j.status))
  FROM late
 WHERE j.id = late.id
RETURNING j.id, j.followed

-- name: next_expiry
SELECT CAST(extract(epoch FROM min(expires_at) - now()) AS float8) AS in_s
  FROM jobs
 WHERE expires_at IS NOT NULL AND finished_at IS NULL

-- name: left_over
DELETE FROM follow_ups
 WHERE job_id IN (SELECT job_id FROM follow_ups ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING job_id

-- name: keys_in_line
-- Keys that someone waits for a slot of, from $1 on: the next one by the index, again and again.
WITH RECURSIVE in_line AS (
    (SELECT concurrency_key FROM jobs
      WHERE concurrency_key > $1 AND status = 'blocked' AND waits_for = 0
      ORDER BY concurrency_key LIMIT 1)
    UNION ALL
    SELECT (SELECT j.concurrency_key FROM jobs j
             WHERE j.concurrency_key > in_line.concurrency_key AND j.status = 'blocked' AND j.waits_for = 0
             ORDER BY j.concurrency_key LIMIT 1)
      FROM in_line WHERE in_line.concurrency_key IS NOT NULL
)
SELECT concurrency_key FROM in_line WHERE concurrency_key IS NOT NULL LIMIT $2

-- name: silence
-- Silent when unheard for $2 seconds before $1, the moment up to which heartbeats are known to have been recorded.
-- A leader that was just elected has first to give the workers time to find it.
UPDATE workers SET state = 'UNRESPONSIVE'
 WHERE id IN (SELECT w.id
                FROM workers w JOIN leadership l ON l.claimed_at <= $1::timestamptz - make_interval(secs => $2)
               WHERE w.state IN ('ACTIVE', 'IDLE', 'OVERLOADED', 'SHUTTING_DOWN')
                 AND w.last_seen < $1::timestamptz - make_interval(secs => $2)
               ORDER BY w.id LIMIT $3 FOR UPDATE OF w SKIP LOCKED)
RETURNING id

-- name: lost
-- A claim is a sign of life too: what a silent worker claimed since is lost only when that is as long ago.
WITH gone AS (
    SELECT j.id,
           CASE WHEN w.id IS NULL THEN 'was never heard'
                WHEN w.state = 'STOPPED' THEN 'stopped'
                ELSE 'has not been heard for more than ' || $2::float8 || ' s' END AS how
      FROM leadership l
      JOIN jobs j ON j.status = 'running' AND l.claimed_at <= $1::timestamptz - make_interval(secs => $2::float8)
      LEFT JOIN workers w ON w.id = j.worker_id
     WHERE w.state = 'STOPPED'
        OR w.state = 'UNRESPONSIVE' AND j.started_at < $1::timestamptz - make_interval(secs => $2::float8)
        OR w.id IS NULL AND j.started_at < $1::timestamptz - make_interval(secs => $2::float8 + $3::float8)
     ORDER BY j.id
     LIMIT $5
       FOR UPDATE OF j SKIP LOCKED
), ended AS (
    UPDATE jobs j
       SET status      = CASE WHEN j.cancel_requested THEN 'cancelled'
                              WHEN j.losses + 1 >= $4 THEN 'failed' ELSE 'retrying' END,
           finished_at = CASE WHEN j.cancel_requested OR j.losses + 1 >= $4 THEN now() END,
           due_at      = CASE WHEN j.cancel_requested OR j.losses + 1 >= $4 THEN j.due_at ELSE now() END,
           losses      = j.losses + 1,
           fingerprint = CASE WHEN NOT j.cancel_requested AND j.losses + 1 >= $4
                              THEN fingerprint(j.type, '{"type": "WorkerLost"}') END,
           error       = json_build_object('type', 'WorkerLost', 'message', format(
                             'attempt %s was lost: its worker %s %s%s', j.attempt, j.worker_id, gone.how,
                             CASE WHEN j.losses + 1 >= $4 AND NOT j.cancel_requested
                                  THEN format('; %s attempts were lost, and no more are made', j.losses + 1) END))
      FROM gone
     WHERE j.id = gone.id
    RETURNING j.id, j.attempt, j.status, j.worker_id, j.started_at, j.error, j.followed
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, outcome, error)
    SELECT id, attempt, worker_id, started_at, 'lost', error FROM ended WHERE status = 'retrying'
        ON CONFLICT (job_id, attempt) DO NOTHING
)
SELECT id, attempt, status, worker_id, followed FROM ended

-- name: overdue
-- As if the worker had reported `timeout`: see `finish` in reports.sql.
WITH late AS (
    SELECT j.id
      FROM leadership l
      JOIN jobs j ON j.status = 'running' AND l.claimed_at <= $1::timestamptz - make_interval(secs => $2)
     WHERE j.started_at + make_interval(secs => j.execution_timeout_s + $3) < $1::timestamptz
     ORDER BY j.id
     LIMIT $4
       FOR UPDATE OF j SKIP LOCKED
), ended AS (
    UPDATE jobs j
       SET status      = CASE WHEN retries('timeout', true, j.failures, j.max_retries, j.cancel_requested)
                              THEN 'retrying' ELSE 'timeout' END,
           finished_at = CASE WHEN retries('timeout', true, j.failures, j.max_retries, j.cancel_requested)
                              THEN NULL ELSE now() END,
           due_at      = CASE WHEN retries('timeout', true, j.failures, j.max_retries, j.cancel_requested)
                              THEN now() + retry_delay(j.failures, j.retry_policy) ELSE j.due_at END,
           failures    = j.failures + 1,
           fingerprint = CASE WHEN NOT retries('timeout', true, j.failures, j.max_retries, j.cancel_requested)
                              THEN fingerprint(j.type, '{"type": "ExecutionTimeout"}') END,
           error       = json_build_object('type', 'ExecutionTimeout', 'message', format(
                             'attempt %s ran longer than %s s, and its worker %s did not end it',
                             j.attempt, j.execution_timeout_s, j.worker_id))
      FROM late
     WHERE j.id = late.id
    RETURNING j.id, j.attempt, j.status, j.worker_id, j.started_at, j.error, j.followed
), archived AS (
    INSERT INTO attempts (job_id, attempt, worker_id, started_at, outcome, error)
    SELECT id, attempt, worker_id, started_at, 'timeout', error FROM ended WHERE status = 'retrying'
        ON CONFLICT (job_id, attempt) DO NOTHING
)
SELECT id, attempt, status, worker_id, followed FROM ended
