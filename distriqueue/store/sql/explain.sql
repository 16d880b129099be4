-- Statements of distriqueue/store/explain.py. Every count has a bound.

-- name: more
SELECT now(), max(rate_slot) AS rate_slot, coalesce(max(waits_for), 0) AS waits_for FROM jobs WHERE id = $1

-- name: parents
SELECT p.id, p.status
  FROM dependencies d JOIN jobs p ON p.id = d.parent_id
 WHERE d.child_id = $1 AND NOT d.resolved
 ORDER BY d.place
 LIMIT $2

-- name: holders
SELECT id FROM jobs WHERE concurrency_key = $1 AND status IN ('pending', 'queued', 'running') LIMIT $2

-- name: line
SELECT count(*) AS ahead
  FROM (SELECT 1 FROM jobs
         WHERE concurrency_key = $1 AND status = 'blocked' AND waits_for = 0
           AND (array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], priority), ready_at, id)
               < (array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], $2::text), $3::timestamptz, $4::uuid)
         LIMIT $5) AS before

-- name: lane
-- The lane by rule or priority. Ahead: jobs of the same priority that were queued, or became ready, before.
SELECT lane.name, control.paused, control.reason,
       CASE j.status
            WHEN 'queued' THEN (SELECT count(*) FROM (SELECT 1 FROM jobs o
                                 WHERE o.status = 'queued' AND o.priority = j.priority AND o.queued_at < j.queued_at LIMIT $2) AS q)
            ELSE (SELECT count(*) FROM (SELECT 1 FROM jobs o
                   WHERE o.status = 'pending' AND o.priority = j.priority AND (o.ready_at, o.id) < (j.ready_at, j.id)
                   LIMIT $2) AS p)
       END AS ahead
  FROM jobs j
  LEFT JOIN routing_rules rule ON rule.type = j.type
 CROSS JOIN LATERAL (SELECT coalesce(rule.lane, j.priority) AS name) AS lane
  JOIN lane_controls control ON control.lane = lane.name
 WHERE j.id = $1
 UNION ALL
SELECT 'MEDIUM', false, NULL, 0 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = $1)
 LIMIT 1

-- name: takers
SELECT count(*) AS workers, count(*) FILTER (WHERE $1 = ANY (types)) AS handling,
       coalesce(sum(capacity) FILTER (WHERE $1 = ANY (types)), 0)::int AS capacity,
       coalesce(sum(load) FILTER (WHERE $1 = ANY (types)), 0)::int AS load
  FROM workers WHERE state IN ('ACTIVE', 'IDLE', 'OVERLOADED')

-- name: worker
SELECT state, last_seen FROM workers WHERE id = $1
