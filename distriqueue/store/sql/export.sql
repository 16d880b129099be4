-- Statements of distriqueue/store/export.py.

-- name: sizes
-- About how many bytes of JSON text each job has at most, without unpacking any: what is stored as it is has that size,
-- pglz packs at most 273 bytes into 3 and a share of a control byte (1:88), lz4 at most 1:255.
SELECT j.id,
       (SELECT coalesce(sum(pg_column_size(text) * CASE pg_column_compression(text)
                                WHEN 'pglz' THEN 88 WHEN 'lz4' THEN 255 ELSE 1 END), 0)::bigint
          FROM (SELECT unnested.text FROM (VALUES (j.payload), (j.result), (j.error), (j.metadata)) AS unnested (text)
                 UNION ALL
                SELECT a.error FROM attempts a WHERE a.job_id = j.id) AS big) AS size_bytes
  FROM jobs j WHERE j.id = ANY ($1)

-- name: jobs
-- Every column that there is. Whose status is none of $2 by now is left out; NULL: none is.
SELECT j.*,
       CASE WHEN j.has_parents
            THEN ARRAY (SELECT d.parent_id FROM dependencies d WHERE d.child_id = j.id ORDER BY d.place) ELSE '{}' END AS depends_on
  FROM jobs j WHERE j.id = ANY ($1) AND ($2::text[] IS NULL OR j.status = ANY ($2))

-- name: attempts
-- As `attempts` of reads.sql, of many jobs.
SELECT job_id, attempt, worker_id, started_at, finished_at, outcome, error
  FROM attempts WHERE job_id = ANY ($1)
 UNION ALL
SELECT j.id, j.attempt, j.worker_id, j.started_at, j.finished_at, j.status, j.error
  FROM jobs j
 WHERE j.id = ANY ($1) AND j.started_at IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job_id = j.id AND a.attempt = j.attempt)
 ORDER BY job_id, attempt
