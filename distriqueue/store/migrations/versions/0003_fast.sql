-- Less work for each job.

-- The log without notifications: commits that notify wait for each other, each for its own flush to the disk. Readers look.
CREATE OR REPLACE FUNCTION record_submitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, type, priority, batch_id, created_at)
    SELECT id, attempt, status, type, priority, batch_id, created_at FROM submitted;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION record_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, was, type, priority, worker_id, progress, message, took_ms, batch_id, created_at)
    SELECT n.id, n.attempt, n.status, o.status, n.type, n.priority, n.worker_id, n.progress,
           CASE WHEN n.status = 'running' THEN n.progress_message END,
           CASE WHEN n.status = o.status THEN NULL
                WHEN n.status = 'running' THEN 1000 * extract(epoch FROM n.started_at - n.ready_at)
                WHEN o.status = 'running' THEN 1000 * extract(epoch FROM now() - o.started_at) END,
           n.batch_id, n.created_at
      FROM after n JOIN before o ON o.id = n.id
     WHERE n.status <> o.status
        OR n.progress IS NOT NULL AND (n.progress, n.progress_message) IS DISTINCT FROM (o.progress, o.progress_message);
    RETURN NULL;
END $$;
