-- Statements of distriqueue/store/dashboard.py: what only pages for people ask.

-- name: elections
SELECT h.epoch, h.node, h.boot, h.claimed_at,
       lead(h.claimed_at) OVER (ORDER BY h.epoch) AS until
  FROM leadership_history h
 ORDER BY h.epoch DESC
 LIMIT $1

-- name: children
SELECT j.id, j.type, j.status
  FROM dependencies d JOIN jobs j ON j.id = d.child_id
 WHERE d.parent_id = $1
 ORDER BY d.child_id
 LIMIT $2

-- name: relatives
SELECT id, type, status FROM jobs WHERE id = ANY ($1::uuid[])

-- name: batches
-- Ids are UUIDv7: they sort by creation.
SELECT id FROM batches WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2

-- name: rules
SELECT type, lane, created_at FROM routing_rules ORDER BY type

-- name: queued
-- By `jobs_queued`, $2 entries at most.
SELECT lane.priority,
       (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status = 'queued' AND priority = lane.priority LIMIT $2) AS held)
           AS queued
  FROM unnest($1::text[]) AS lane (priority)
