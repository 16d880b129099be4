-- Whose trace a job belongs to. Hardly any job has one: then the column costs nothing.

ALTER TABLE jobs ADD COLUMN trace text;
COMMENT ON COLUMN jobs.trace IS 'traceparent (W3C Trace Context) of the submission, if that was sampled';

-- As in 0002, and a webhook belongs to the trace of the job that it tells of.
CREATE OR REPLACE FUNCTION call_back_for_jobs(ended uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
    webhook uuid;
BEGIN
    FOR job IN SELECT * FROM jobs WHERE id = ANY (ended) AND callback_url IS NOT NULL AND finished_at IS NOT NULL LOOP
        webhook := call_back(job.callback_url, job.priority, 'job.' || job.status, json_build_object(
            'jobId', job.id, 'type', job.type, 'status', job.status, 'attempt', job.attempt, 'batchId', job.batch_id,
            'result', CASE WHEN octet_length(job.result::text) <= 65536 THEN job.result END,
            'error', CASE WHEN job.error IS NOT NULL THEN
                         json_build_object('type', job.error->'type', 'message', job.error->'message') END,
            'createdAt', to_char(job.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'finishedAt', to_char(job.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
        IF job.trace IS NOT NULL THEN
            UPDATE jobs SET trace = job.trace WHERE id = webhook;
        END IF;
        INSERT INTO dependencies (parent_id, child_id, place, needed, resolved) VALUES (job.id, webhook, 0, false, true);
        RETURN NEXT webhook;
    END LOOP;
END $$;
