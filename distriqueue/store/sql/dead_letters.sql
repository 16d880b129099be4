-- Statements of distriqueue/store/dead_letters.py.

-- name: groups
-- The answer always has a row, which says whether all of the span was looked at.
WITH newest AS MATERIALIZED (
    SELECT id, fingerprint, type, finished_at FROM jobs
     WHERE status IN ('failed', 'timeout')
       AND finished_at >= coalesce($2::timestamptz, '-infinity') AND finished_at < coalesce($3::timestamptz, 'infinity')
     ORDER BY finished_at DESC
     LIMIT $4 + 1
), alike AS (
    SELECT fingerprint, count(*)::int AS jobs, min(finished_at) AS first_at, max(finished_at) AS last_at,
           (array_agg(id ORDER BY finished_at DESC, id DESC))[1] AS sample_id
      FROM newest WHERE fingerprint IS NOT NULL AND ($1::text IS NULL OR type = $1)
     GROUP BY fingerprint
     ORDER BY jobs DESC, last_at DESC, fingerprint
     LIMIT $5
)
SELECT looked.complete, alike.*, j.type, j.error
  FROM (SELECT count(*) <= $4 AS complete FROM newest) AS looked
  LEFT JOIN alike ON true
  LEFT JOIN jobs j ON j.id = alike.sample_id
 ORDER BY alike.jobs DESC, alike.last_at DESC, alike.fingerprint
