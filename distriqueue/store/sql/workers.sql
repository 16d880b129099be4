-- Statements of distriqueue/store/workers.py: the workers, as the orchestrators hear them.

-- name: record
-- Ids come sorted, so that two nodes' flushes cannot deadlock. The answer always has a row: its `at` dates the recording.
WITH recorded AS (
    INSERT INTO workers (id, type, state, capacity, load, types, version, memory_bytes)
    SELECT id, type, state, capacity, load, ARRAY (SELECT json_array_elements_text(CAST(types AS json))), version, memory_bytes
      FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::bigint[])
           AS r(id, type, state, capacity, load, types, version, memory_bytes)
        ON CONFLICT (id) DO UPDATE
       SET type = excluded.type, state = excluded.state, capacity = excluded.capacity, load = excluded.load,
           types = excluded.types, version = excluded.version, memory_bytes = excluded.memory_bytes, last_seen = now()
)
SELECT now() AS at, command.worker_id, command.job_id, command.lane
  FROM (SELECT 1) AS always LEFT JOIN (
       (SELECT worker_id, id AS job_id, NULL AS lane FROM jobs WHERE status = 'running' AND cancel_requested LIMIT $9)
       UNION ALL
       (SELECT id, NULL, NULL FROM workers WHERE drain_requested AND state <> 'STOPPED' LIMIT $9)
       UNION ALL
       SELECT NULL, NULL, lane FROM lane_controls WHERE paused
       ) AS command ON true

-- name: page
SELECT w.id, w.type, w.state, w.capacity, w.load, w.types, w.version, w.memory_bytes, w.drain_requested, w.first_seen, w.last_seen,
       (SELECT count(*) FROM jobs j WHERE j.worker_id = w.id AND j.status = 'running') AS running
  FROM workers w
 WHERE w.id > $1 AND ($3::text IS NULL OR w.state = $3)
 ORDER BY w.id
 LIMIT $2

-- name: get
SELECT w.id, w.type, w.state, w.capacity, w.load, w.types, w.version, w.memory_bytes, w.drain_requested, w.first_seen, w.last_seen,
       (SELECT count(*) FROM jobs j WHERE j.worker_id = w.id AND j.status = 'running') AS running
  FROM workers w WHERE w.id = $1

-- name: drain
UPDATE workers SET drain_requested = true WHERE id = $1 AND state <> 'STOPPED' RETURNING id

-- name: count
SELECT state, count(*) AS workers, sum(capacity) AS slots, sum(load) AS load FROM workers GROUP BY state

-- name: prune
DELETE FROM workers
 WHERE id IN (SELECT id FROM workers
               WHERE state IN ('UNRESPONSIVE', 'STOPPED') AND last_seen < now() - make_interval(secs => $1)
               ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
