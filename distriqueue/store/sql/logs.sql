-- Statements of distriqueue/store/logs.py: what handlers wrote to their jobs' logs.

-- name: keep
INSERT INTO job_logs (job_id, attempt, n, at, level, message, fields)
SELECT job_id, attempt, n, at, level, message, CAST(fields AS json)
  FROM unnest($1::uuid[], $2::int[], $3::int[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
       AS r(job_id, attempt, n, at, level, message, fields)
    ON CONFLICT (job_id, attempt, n) DO NOTHING

-- name: of_job
-- One way through the primary key: of all attempts, or of one.
SELECT attempt, n, at, level, message, fields
  FROM job_logs
 WHERE job_id = $1 AND (attempt, n) > ($2::int, $3::int) AND attempt <= $4::int
 ORDER BY attempt, n
 LIMIT $5
