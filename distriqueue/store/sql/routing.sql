-- Statements of distriqueue/store/routing.py: which lane a type's jobs go through, and which lanes rest.

-- name: load
SELECT (SELECT coalesce(json_object_agg(type, lane), '{}') FROM routing_rules)::text AS rules,
       ARRAY (SELECT lane FROM lane_controls WHERE paused) AS paused,
       ARRAY (SELECT type FROM rate_limits) AS limited

-- name: set_rule
INSERT INTO routing_rules (type, lane) VALUES ($1, $2) ON CONFLICT (type) DO UPDATE SET lane = excluded.lane

-- name: delete_rule
DELETE FROM routing_rules WHERE type = $1 RETURNING type

-- name: pause
UPDATE lane_controls SET paused = $2, reason = $3, changed_at = now() WHERE lane = $1

-- name: lanes
SELECT lane, paused, reason, changed_at FROM lane_controls

-- name: backlogs
SELECT lane.priority,
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status = 'pending' AND priority = lane.priority LIMIT $2) AS waiting)
           AS pending,
       CAST(greatest(0, extract(epoch FROM now() - least(
           (SELECT ready_at FROM jobs WHERE status = 'pending' AND priority = lane.priority ORDER BY ready_at LIMIT 1),
           (SELECT queued_at FROM jobs WHERE status = 'queued' AND priority = lane.priority ORDER BY queued_at LIMIT 1))))
           AS float8) AS oldest_s
  FROM unnest($1::text[]) AS lane (priority)
