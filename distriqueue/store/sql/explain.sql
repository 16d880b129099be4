-- Statements of distriqueue/store/explain.py.

-- name: facts
-- One statement, so one instant. What does not concern the job's status is not looked at; $2 jobs are named, $3 counted.
SELECT now(), j.id, j.type, j.priority, j.status, j.attempt, j.failures, j.losses, j.max_retries, j.execution_timeout_s,
       j.cancel_requested, j.worker_id, j.progress, j.progress_message, j.ready_at, j.due_at, j.expires_at, j.queued_at,
       j.started_at, j.finished_at, j.batch_id, j.concurrency_key, j.concurrency_limit, j.rate_slot, j.waits_for, j.fingerprint,
       j.error->>'type' AS error_type, j.error->>'message' AS error_message,
       CASE WHEN j.status = 'blocked' AND j.waits_for > 0 THEN
            (SELECT json_agg(one) FROM (
                    SELECT p.id, p.status FROM dependencies d JOIN jobs p ON p.id = d.parent_id
                     WHERE d.child_id = j.id AND NOT d.resolved
                     ORDER BY d.place LIMIT $2) AS one)
            WHEN j.status = 'cancelled' AND j.error->>'type' = 'ParentFailed' THEN
            (SELECT json_agg(one) FROM (
                    SELECT p.id, p.status FROM dependencies d JOIN jobs p ON p.id = d.parent_id
                     WHERE d.child_id = j.id AND d.needed AND d.resolved AND p.status <> 'completed'
                     ORDER BY d.place LIMIT $2) AS one)
       END AS parents,
       CASE WHEN j.status = 'blocked' AND j.waits_for = 0 AND j.concurrency_key IS NOT NULL THEN
            json_build_object(
            'holders', ARRAY (SELECT o.id FROM jobs o
                               WHERE o.concurrency_key = j.concurrency_key AND o.status IN ('pending', 'queued', 'running')
                               LIMIT $2),
            'held', (SELECT count(*) FROM (
                     SELECT 1 FROM jobs o
                      WHERE o.concurrency_key = j.concurrency_key AND o.status IN ('pending', 'queued', 'running')
                      LIMIT $3) AS held),
            'ahead', (SELECT count(*) FROM (
                      SELECT 1 FROM jobs o
                       WHERE o.concurrency_key = j.concurrency_key AND o.status = 'blocked' AND o.waits_for = 0
                         AND (array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], o.priority), o.ready_at, o.id)
                             < (array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], j.priority), j.ready_at, j.id)
                       LIMIT $3) AS ahead))
       END AS slots,
       -- Ahead: jobs of the same priority that were queued, or became ready, before.
       CASE j.status
            WHEN 'queued' THEN (SELECT count(*) FROM (
                                SELECT 1 FROM jobs o
                                 WHERE o.status = 'queued' AND o.priority = j.priority AND o.queued_at < j.queued_at
                                 LIMIT $3) AS ahead)
            WHEN 'pending' THEN (SELECT count(*) FROM (
                                 SELECT 1 FROM jobs o
                                  WHERE o.status = 'pending' AND o.priority = j.priority AND (o.ready_at, o.id) < (j.ready_at, j.id)
                                  LIMIT $3) AS ahead)
       END AS ahead,
       coalesce(rule.lane, j.priority) AS lane, control.paused, control.reason,
       CASE WHEN j.status IN ('pending', 'queued') THEN
            (SELECT json_build_object(
                    'workers', count(*), 'handling', count(*) FILTER (WHERE w.handles),
                    'capacity', coalesce(sum(w.capacity) FILTER (WHERE w.handles), 0),
                    'load', coalesce(sum(w.load) FILTER (WHERE w.handles), 0))
               FROM (SELECT capacity, load, types = '{}' OR j.type = ANY (types) AS handles FROM workers
                      WHERE state IN ('ACTIVE', 'IDLE', 'OVERLOADED') AND NOT drain_requested) AS w)
       END AS takers,
       own.state AS worker_state, own.last_seen AS worker_last_seen
  FROM jobs j
  LEFT JOIN routing_rules rule ON rule.type = j.type
  LEFT JOIN lane_controls control ON control.lane = coalesce(rule.lane, j.priority)
  LEFT JOIN workers own ON own.id = j.worker_id
 WHERE j.id = $1
