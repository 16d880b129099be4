-- What handlers leave behind. Jobs that leave nothing pay nothing: no statement more, no row, no flag to be looked at.

ALTER TABLE jobs ADD COLUMN checkpoint json;
COMMENT ON COLUMN jobs.checkpoint IS 'from where the next attempt can go on; kept until the job completes';

CREATE TABLE job_logs (
    job_id  uuid NOT NULL,
    attempt integer NOT NULL CHECK (attempt >= 1),
    n       integer NOT NULL CHECK (n BETWEEN 1 AND 1000),
    at      timestamptz NOT NULL,
    level   text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error', 'critical')),
    message text NOT NULL CHECK (length(message) <= 2000),
    fields  json,
    PRIMARY KEY (job_id, attempt, n)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
COMMENT ON COLUMN job_logs.n IS 'counts the lines of the attempt: a line that is reported again is the same one';
COMMENT ON COLUMN job_logs.at IS 'by the clock of the worker';

-- They go with their jobs: once for all that a statement deletes, where a foreign key would look for each of them.
CREATE FUNCTION forget_logs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM job_logs WHERE job_id = ANY (ARRAY (SELECT id FROM deleted));
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_logs_forgotten AFTER DELETE ON jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION forget_logs();
