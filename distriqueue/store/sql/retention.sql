-- Statements of distriqueue/store/retention.py: what is old enough goes, a bounded batch at a time.

-- name: old_events
-- The last of at most $2 events from the oldest on that are all older than $1 seconds, and summed up by the statistics.
-- (One bound inside and one outside: given both, the planner takes the range for small, fetches all of it and sorts.)
SELECT max(oldest.floor) AS floor,
       coalesce(min(seq) FILTER (WHERE at >= now() - make_interval(secs => $1)) - 1, max(seq)) AS until
  FROM (SELECT e.seq, e.at, f.seq AS floor, r.seq AS rolled
          FROM event_floor f
         CROSS JOIN event_rollup r
         CROSS JOIN LATERAL (SELECT seq, at FROM events WHERE events.seq > f.seq ORDER BY events.seq LIMIT $2) AS e
       ) AS oldest
 WHERE oldest.seq <= oldest.rolled

-- name: raise_floor
-- With the deletion, and before it: whoever finds an event gone finds the floor above it.
UPDATE event_floor SET seq = $1 WHERE seq < $1 RETURNING seq

-- name: drop_events
DELETE FROM events WHERE seq > $1 AND seq <= $2

-- name: due_jobs
-- Looks at the next $4 jobs in the order of their creation, from ($1, $2) on, that are older than the shortest age, $3, and
-- locks those that are due. An index on finished_at would make that a lookup, and every end of a job dearer: the walk costs
-- nothing on the hot path.
WITH oldest AS MATERIALIZED (
    SELECT id, created_at FROM job_listing
     WHERE (created_at, id) > ($1::timestamptz, $2::uuid) AND created_at < now() - make_interval(secs => $3)
     ORDER BY created_at, id
     LIMIT $4
), due AS (
    SELECT j.id
      FROM oldest
      JOIN jobs j ON j.id = oldest.id
      JOIN unnest($5::text[], $6::float8[]) AS kept (status, for_s) ON kept.status = j.status
     WHERE j.finished_at < now() - make_interval(secs => kept.for_s)
     ORDER BY j.id
       FOR UPDATE OF j SKIP LOCKED
)
SELECT (SELECT count(*) FROM oldest) AS looked, ARRAY (SELECT id FROM due) AS due, last.created_at, last.id
  FROM (SELECT 1) AS always
  LEFT JOIN (SELECT created_at, id FROM oldest ORDER BY created_at DESC, id DESC LIMIT 1) AS last ON true

-- name: free_jobs
-- Those of the locked jobs that nothing needs any more; what needs a job is told here. In a statement of its own, which sees
-- what was committed until the lock was had: from then on no child can name the job as its parent.
SELECT j.id
  FROM jobs j
 WHERE j.id = ANY ($1)
   -- a child that is not over reads its parents' results
   AND NOT EXISTS (SELECT FROM dependencies d JOIN jobs child ON child.id = d.child_id
                    WHERE d.parent_id = j.id AND child.finished_at IS NULL)
   -- what follows from its end is not done
   AND NOT EXISTS (SELECT FROM follow_ups f WHERE f.job_id = j.id)
 ORDER BY j.created_at, j.id

-- name: drop_batches
-- Looks at the next $3 batches from the id $1 on. A batch and its jobs are made in one transaction, and none is added later.
WITH looked_at AS MATERIALIZED (
    SELECT id, created_at FROM batches WHERE id > $1 ORDER BY id LIMIT $3
), gone AS (
    DELETE FROM batches b
     WHERE b.id = ANY (ARRAY (SELECT id FROM looked_at WHERE created_at < now() - make_interval(secs => $2)))
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.batch_id = b.id)
       AND NOT EXISTS (SELECT FROM batch_webhooks w WHERE w.batch_id = b.id)
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS dropped, (SELECT id FROM looked_at ORDER BY id OFFSET $3 - 1) AS next

-- name: drop_jobs
DELETE FROM jobs WHERE id = ANY ($1)
