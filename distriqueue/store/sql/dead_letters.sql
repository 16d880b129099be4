-- Statements of distriqueue/store/dead_letters.py.

-- name: groups
WITH newest AS MATERIALIZED (
    SELECT id, fingerprint, type, finished_at FROM jobs
     WHERE status IN ('failed', 'timeout') AND ($1::text IS NULL OR type = $1)
       AND finished_at >= coalesce($2::timestamptz, '-infinity') AND finished_at < coalesce($3::timestamptz, 'infinity')
     ORDER BY finished_at DESC
     LIMIT $4
), alike AS (
    SELECT fingerprint, count(*)::int AS jobs, min(finished_at) AS first_at, max(finished_at) AS last_at,
           (array_agg(id ORDER BY finished_at DESC))[1] AS id, (SELECT count(*) FROM newest) AS looked_at
      FROM newest WHERE fingerprint IS NOT NULL
     GROUP BY fingerprint
     ORDER BY jobs DESC, last_at DESC
     LIMIT $5
)
SELECT alike.*, j.type, j.error FROM alike JOIN jobs j ON j.id = alike.id ORDER BY alike.jobs DESC, alike.last_at DESC
