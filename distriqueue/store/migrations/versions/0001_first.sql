-- The first schema. What a row may hold is said here, in CHECKs and triggers, so that no code can break it.

CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    type                text NOT NULL CHECK (length(type) BETWEEN 1 AND 200),
    priority            text NOT NULL CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    status              text NOT NULL CHECK (status IN (
                            'scheduled', 'blocked', 'pending', 'queued', 'running', 'retrying',
                            'completed', 'failed', 'timeout', 'cancelled')),
    attempt             integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    failures            integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    losses              integer NOT NULL DEFAULT 0 CHECK (losses >= 0),
    max_retries         integer NOT NULL CHECK (max_retries BETWEEN 0 AND 100),
    execution_timeout_s double precision NOT NULL CHECK (execution_timeout_s > 0),
    cancel_requested    boolean NOT NULL DEFAULT false,
    worker_id           text,
    progress            real CHECK (progress BETWEEN 0 AND 100),
    created_at          timestamptz NOT NULL DEFAULT now(),
    ready_at            timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz,
    queued_at           timestamptz,
    started_at          timestamptz,
    finished_at         timestamptz,
    batch_id            uuid,
    schedule_name       text,
    schedule_fire_at    timestamptz,
    tags                text[] NOT NULL DEFAULT '{}',
    metadata            json,
    payload             json NOT NULL,
    result              json,
    error               json,
    CONSTRAINT finished_means_terminal
        CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'timeout', 'cancelled'))),
    CONSTRAINT running_has_a_worker
        CHECK (status <> 'running' OR (worker_id IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT waiting_has_a_due_time
        CHECK (status NOT IN ('scheduled', 'retrying') OR due_at IS NOT NULL),
    CONSTRAINT only_completed_has_a_result
        CHECK (result IS NULL OR status = 'completed'),
    CONSTRAINT a_schedules_job_has_its_fire_time
        CHECK ((schedule_name IS NULL) = (schedule_fire_at IS NULL))
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

COMMENT ON COLUMN jobs.attempt IS 'fencing token: grows on every retry, loss, release and client retry';
COMMENT ON COLUMN jobs.failures IS 'attempts charged against max_retries';
COMMENT ON COLUMN jobs.losses IS 'attempts lost with their worker';
COMMENT ON COLUMN jobs.ready_at IS 'when the job last became pending';
COMMENT ON COLUMN jobs.schedule_name IS 'the cron schedule that made the job; it may be gone by now';

-- Each index serves one query, named beside it. An UPDATE that checks a status must find its rows by id all the same: see
-- distriqueue/store/sql/jobs.sql on `status || ''`.
CREATE INDEX jobs_newest  ON jobs (created_at DESC, id DESC);                                 -- list
CREATE INDEX jobs_pending ON jobs (priority, ready_at, id) WHERE status = 'pending';          -- dispatcher
CREATE INDEX jobs_due     ON jobs (due_at)    WHERE status IN ('scheduled', 'retrying');      -- scheduler
CREATE INDEX jobs_queued  ON jobs (priority, queued_at) WHERE status = 'queued';              -- reconciler
CREATE INDEX jobs_running ON jobs (worker_id) WHERE status = 'running';                       -- reaper
CREATE INDEX jobs_cancel  ON jobs (worker_id) WHERE status = 'running' AND cancel_requested;  -- heartbeats
CREATE INDEX jobs_batch   ON jobs (batch_id)  WHERE batch_id IS NOT NULL;                     -- batch
-- One job per schedule and fire time, whatever leaders do; and which of them are not over, for `overlap = 'skip'`.
CREATE UNIQUE INDEX jobs_fire ON jobs (schedule_name, schedule_fire_at) WHERE schedule_name IS NOT NULL;  -- cron
CREATE INDEX jobs_fire_open ON jobs (schedule_name) WHERE schedule_name IS NOT NULL AND finished_at IS NULL;  -- cron

-- The legal steps, generated from distriqueue/core/states.py and tested against it.
CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % may not go from % to %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'DQ002';
END $$;

CREATE TRIGGER jobs_transition BEFORE UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status <> ALL (ARRAY[
    'scheduled>pending', 'scheduled>cancelled',
    'blocked>pending', 'blocked>cancelled',
    'pending>queued', 'pending>running', 'pending>cancelled',
    'queued>running', 'queued>cancelled', 'queued>pending',
    'running>completed', 'running>failed', 'running>timeout', 'running>retrying', 'running>cancelled', 'running>pending',
    'retrying>pending', 'retrying>cancelled',
    'failed>pending', 'timeout>pending', 'cancelled>pending']))
EXECUTE FUNCTION refuse_transition();

-- Whether an attempt that ended badly is tried again, and after how long (distriqueue/core/retry.py: base 2 s, factor 2,
-- cap 600 s, jitter in [½, 1)). The tests hold both to the same figures.
CREATE FUNCTION retries(outcome text, retryable boolean, failures integer, max_retries integer, cancel_requested boolean)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT outcome IN ('failed', 'timeout') AND retryable AND failures < max_retries AND NOT cancel_requested
$$;
CREATE FUNCTION retry_delay(failures integer) RETURNS interval LANGUAGE sql VOLATILE AS $$
    SELECT make_interval(secs => least(600, 2 * 2 ^ least(failures, 60)) * (0.5 + random() / 2))
$$;

-- Attempts that a job has left behind; its newest attempt is in the job's own row.
CREATE TABLE attempts (
    job_id      uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt     integer NOT NULL,
    worker_id   text,
    started_at  timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now(),
    outcome     text NOT NULL CHECK (outcome IN ('failed', 'timeout', 'lost', 'released', 'cancelled')),
    error       json,
    PRIMARY KEY (job_id, attempt)
);

-- Every transition of every job, in the order in which it happened to that job: `seq` is drawn while the job's row is locked.
-- A reader must wait out gaps in seq, for a sequence number is visible only after its transaction's commit.
CREATE TABLE events (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id    uuid NOT NULL,
    attempt   integer NOT NULL,
    status    text NOT NULL,
    was       text,
    type      text NOT NULL,
    priority  text NOT NULL,
    worker_id text,
    progress  real,
    took_ms   real,
    batch_id  uuid,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN events.was IS 'the status before; NULL for a new job, and the same for progress';
COMMENT ON COLUMN events.took_ms IS 'into running: how long the job was ready before; out of it: how long the attempt ran';
COMMENT ON COLUMN events.created_at IS 'when the job was created';
CREATE INDEX events_job ON events (job_id, seq);                                              -- timeline

-- Up to here events may have been deleted by age: a cursor below it cannot be resumed without loss.
CREATE TABLE event_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL
);
INSERT INTO event_floor (seq) VALUES (0);

CREATE FUNCTION record_submitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, type, priority, batch_id, created_at)
    SELECT id, attempt, status, type, priority, batch_id, created_at FROM submitted;
    IF FOUND THEN PERFORM pg_notify('distriqueue_events', ''); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION record_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, was, type, priority, worker_id, progress, took_ms, batch_id, created_at)
    SELECT n.id, n.attempt, n.status, o.status, n.type, n.priority, n.worker_id, n.progress,
           CASE WHEN n.status = o.status THEN NULL
                WHEN n.status = 'running' THEN 1000 * extract(epoch FROM n.started_at - n.ready_at)
                WHEN o.status = 'running' THEN 1000 * extract(epoch FROM now() - o.started_at) END,
           n.batch_id, n.created_at
      FROM after n JOIN before o ON o.id = n.id
     WHERE n.status <> o.status OR n.progress IS DISTINCT FROM o.progress AND n.progress IS NOT NULL;
    IF FOUND THEN PERFORM pg_notify('distriqueue_events', ''); END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER jobs_submitted AFTER INSERT ON jobs REFERENCING NEW TABLE AS submitted
    FOR EACH STATEMENT EXECUTE FUNCTION record_submitted();
CREATE TRIGGER jobs_changed AFTER UPDATE ON jobs REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed();

-- The statistics duty sums the log up, so that figures over all jobs never look at all jobs. What it has not summed up
-- yet, the events after `event_rollup.seq`, a reader adds: cursor and counts change in one transaction.
-- Rows of the hour '-infinity' are the sums over all hours.
CREATE TABLE event_rollup (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL
);
INSERT INTO event_rollup (seq) VALUES (0);

CREATE TABLE job_totals (          -- jobs that are stored, by the hour of their creation and their status
    hour      timestamptz NOT NULL,
    status    text NOT NULL,
    jobs      bigint NOT NULL,
    PRIMARY KEY (hour, status)
) WITH (fillfactor = 50);

CREATE TABLE job_counts_hourly (   -- what happened in an hour, to jobs that may be gone by now
    hour      timestamptz NOT NULL,
    type      text NOT NULL,
    priority  text NOT NULL,
    submitted bigint NOT NULL,
    started   bigint NOT NULL,     -- attempts
    completed bigint NOT NULL,
    failed    bigint NOT NULL,     -- jobs that ended `failed` or `timeout`
    cancelled bigint NOT NULL,
    retried   bigint NOT NULL,     -- attempts that ended badly and are followed by another
    queue_ms  double precision NOT NULL,  -- sum over `started`
    run_ms    double precision NOT NULL,  -- sum over `completed`
    PRIMARY KEY (hour, type, priority)
) WITH (fillfactor = 50);

CREATE TABLE worker_counts_hourly (
    hour      timestamptz NOT NULL,
    worker_id text NOT NULL,
    started   bigint NOT NULL,
    completed bigint NOT NULL,
    failed    bigint NOT NULL,
    queue_ms  double precision NOT NULL,
    run_ms    double precision NOT NULL,
    PRIMARY KEY (hour, worker_id)
) WITH (fillfactor = 50);

CREATE FUNCTION record_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_totals AS t (hour, status, jobs)
    SELECT of.hour, d.status, -count(*)
      FROM deleted d CROSS JOIN LATERAL (VALUES (date_trunc('hour', d.created_at, 'UTC')), ('-infinity')) AS of (hour)
     GROUP BY of.hour, d.status ORDER BY of.hour, d.status
        ON CONFLICT (hour, status) DO UPDATE SET jobs = t.jobs + excluded.jobs;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION record_deleted();

-- Cron schedules. `next_fire` is the first fire that was not made yet; only the database's clock says whether it is due.
CREATE TABLE schedules (
    name                text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
    cron                text NOT NULL,
    timezone            text NOT NULL DEFAULT 'UTC',
    type                text NOT NULL CHECK (length(type) BETWEEN 1 AND 200),
    priority            text NOT NULL CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    payload             json NOT NULL,
    max_retries         integer NOT NULL CHECK (max_retries BETWEEN 0 AND 100),
    execution_timeout_s double precision NOT NULL CHECK (execution_timeout_s > 0),
    tags                text[] NOT NULL DEFAULT '{}',
    overlap             text NOT NULL DEFAULT 'allow' CHECK (overlap IN ('allow', 'skip')),
    misfire_grace_s     double precision NOT NULL DEFAULT 60 CHECK (misfire_grace_s >= 0),
    paused              boolean NOT NULL DEFAULT false,
    next_fire           timestamptz,
    last_fire           timestamptz,
    last_job_id         uuid,
    fired               bigint NOT NULL DEFAULT 0,
    missed              bigint NOT NULL DEFAULT 0,
    overlapped          bigint NOT NULL DEFAULT 0,
    error               text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON COLUMN schedules.missed IS 'fires given up because they came too late';
COMMENT ON COLUMN schedules.overlapped IS 'fires given up because an earlier one''s job was not over';
COMMENT ON COLUMN schedules.error IS 'why it can fire no more';
CREATE INDEX schedules_due ON schedules (next_fire) WHERE NOT paused AND next_fire IS NOT NULL;  -- cron

-- Which lane a type's jobs go through, whatever their priority; and which lanes rest.
CREATE TABLE routing_rules (
    type       text PRIMARY KEY CHECK (length(type) BETWEEN 1 AND 200),
    lane       text NOT NULL CHECK (lane IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE lane_controls (
    lane       text PRIMARY KEY CHECK (lane IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    paused     boolean NOT NULL DEFAULT false,
    reason     text,
    changed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO lane_controls (lane) VALUES ('CRITICAL'), ('HIGH'), ('MEDIUM'), ('LOW');

-- Workers, as the orchestrators hear them.
CREATE TABLE workers (
    id               text PRIMARY KEY,
    type             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('ACTIVE', 'IDLE', 'OVERLOADED', 'UNRESPONSIVE', 'SHUTTING_DOWN', 'STOPPED')),
    capacity         integer NOT NULL,
    load             integer NOT NULL,
    types            text[] NOT NULL DEFAULT '{}',
    version          text,
    drain_requested  boolean NOT NULL DEFAULT false,
    first_seen       timestamptz NOT NULL DEFAULT now(),
    last_seen        timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);  -- every row is written every second: in place, without new index entries

-- Who leads. Epochs only grow; a leader's every transaction ends with fence(its epoch).
CREATE TABLE leadership (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch      bigint NOT NULL,
    node       text,
    boot       text,
    claimed_at timestamptz
);
INSERT INTO leadership (epoch) VALUES (0);

CREATE TABLE leadership_history (
    epoch      bigint PRIMARY KEY,
    node       text NOT NULL,
    boot       text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);

-- FOR SHARE: a plain SELECT would let a stale leader commit after the new claim, FOR KEY SHARE would not block the claim.
CREATE FUNCTION fence(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE current bigint;
BEGIN
    SELECT epoch INTO STRICT current FROM leadership FOR SHARE;
    IF current <> expected THEN
        RAISE EXCEPTION 'epoch % is over: the epoch is %', expected, current USING ERRCODE = 'DQ001';
    END IF;
END $$;
