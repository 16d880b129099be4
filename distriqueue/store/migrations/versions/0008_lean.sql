-- Less work and log for each job, and for its deletion (docs/adr/0019-events-in-one-table.md, docs/tuning-postgres.md).

-- The legal steps, as in 0002, but judged after the row was written: for a trigger before it, each row is locked first, which
-- is a record in the log (60 bytes) for each step of each job. An illegal step fails its statement as it did.
DROP TRIGGER jobs_transition ON jobs;
CREATE TRIGGER jobs_transition AFTER UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status <> ALL (ARRAY[
    'scheduled>pending', 'scheduled>blocked', 'scheduled>timeout', 'scheduled>cancelled',
    'blocked>pending', 'blocked>scheduled', 'blocked>timeout', 'blocked>cancelled',
    'pending>queued', 'pending>running', 'pending>timeout', 'pending>cancelled',
    'queued>running', 'queued>pending', 'queued>timeout', 'queued>cancelled',
    'running>completed', 'running>failed', 'running>timeout', 'running>retrying', 'running>cancelled', 'running>pending',
    'retrying>pending', 'retrying>blocked', 'retrying>cancelled',
    'failed>pending', 'timeout>pending', 'cancelled>pending',
    'failed>blocked', 'timeout>blocked', 'cancelled>blocked']))
EXECUTE FUNCTION refuse_transition();

-- What goes with a job, once for all that a statement deletes. A foreign key looks three times for each of them, which was two
-- thirds of what deleting cost. What it kept apart still is: an attempt is written by the statement that changes its job, an edge
-- under a lock on both its jobs, and retention passes over what is locked.
ALTER TABLE attempts DROP CONSTRAINT attempts_job_id_fkey;
ALTER TABLE dependencies DROP CONSTRAINT dependencies_parent_id_fkey, DROP CONSTRAINT dependencies_child_id_fkey;

DROP TRIGGER jobs_logs_forgotten ON jobs;
DROP FUNCTION forget_logs();
CREATE FUNCTION forget_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone uuid[] := ARRAY (SELECT id FROM deleted);
BEGIN
    DELETE FROM attempts WHERE job_id = ANY (gone);
    DELETE FROM dependencies WHERE child_id = ANY (gone);
    DELETE FROM dependencies WHERE parent_id = ANY (gone);
    DELETE FROM job_logs WHERE job_id = ANY (gone);
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_forgotten AFTER DELETE ON jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION forget_deleted();

-- Where the server's own settings are the usual ones: a fifth of a large table dead is too much of the disk. (`jobs` is at 0.02.)
ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
